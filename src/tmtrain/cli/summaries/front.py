"""What ``tmtrain plan --pareto`` tells about the plans that it found."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.cli.scene import Scene
from tmtrain.questions.pareto import Front, FrontPoint
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.units import format_bytes, format_seconds, format_years


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPointSummary:
    """One plan of the front."""

    objective: str
    write_budget_bytes: float | None
    energy_j: float
    step_time_s: float
    bytes_out: int
    life_s: float | None
    """null where nothing is written."""
    value: float
    bound: float
    gap: float | None
    """Optimality gap: (value - bound) / bound; null where the bound is 0."""

    def line(self) -> tuple[str, str]:
        """Return label and value as people read them."""
        budget = self.write_budget_bytes
        life = "forever" if self.life_s is None else format_years(self.life_s)
        return (
            self.objective + ("" if budget is None else f", at most {format_bytes(budget)} written"),
            f"{quantity(self.energy_j, 'J'):>8}  {format_seconds(self.step_time_s):>8}  life {life:<12} "
            f"at most {percent(self.gap)} from the best of its kind",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSummary:
    """The Pareto front in numbers, as measured."""

    title: str
    points: tuple[FrontPointSummary, ...]
    dominated: int
    """Plans that others beat, or equal, in everything."""
    figure: str | None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        yield from (point.line() for point in self.points)
        if self.dominated:
            yield "beaten", f"{self.dominated} more plans, by these in everything"
        if self.figure is not None:
            yield "figure", self.figure


def summarise_front(front: Front, scene: Scene, *, figure: str | None) -> FrontSummary:
    """Sum up the plans that were found in `scene`."""
    return FrontSummary(
        title=f"{scene.title}: plans of which none beats another in energy, time and drive life",
        points=tuple(_summarise_point(point) for point in front.points),
        dominated=len(front.dominated),
        figure=figure,
    )


def _summarise_point(point: FrontPoint) -> FrontPointSummary:
    return FrontPointSummary(
        objective=point.objective,
        write_budget_bytes=point.write_budget_bytes,
        energy_j=point.energy_j,
        step_time_s=point.step_time_s,
        bytes_out=point.bytes_out,
        life_s=point.life_s if point.bytes_out else None,
        value=point.value,
        bound=point.bound,
        gap=point.gap,
    )
