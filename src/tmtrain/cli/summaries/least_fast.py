"""What ``tmtrain plan --min-fast`` tells about the capacity that it found."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.cli.scene import Scene
from tmtrain.plans import CLASS
from tmtrain.questions.min_fast import LeastFast
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.simulation import Result
from tmtrain.units import format_bytes, format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastFastSummary:
    """How little fast memory is enough."""

    title: str
    limit: str
    footprint_bytes: int
    impossible_bytes: int
    """Proved: with so much, no plan meets the limit."""
    achieved_bytes: int
    """With so much, ours does, as simulated."""
    achieved_fraction: float
    step_time_s: float
    """Simulated, as the two below."""
    energy_j: float
    bytes_out: int
    probes: int
    out: str | None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        share, whole = percent(self.achieved_fraction), format_bytes(self.footprint_bytes)
        yield "limit", self.limit
        yield "enough", f"{format_bytes(self.achieved_bytes)}, {share} of {whole} (simulated)"
        yield "impossible", self._impossible()
        step = f"{format_seconds(self.step_time_s)} and {quantity(self.energy_j, 'J')}"
        yield "there", f"{step} a step, writes {format_bytes(self.bytes_out)}"
        yield "tried", f"{self.probes} capacities"
        if self.out is not None:
            yield "plan", self.out

    def _impossible(self) -> str:
        if not self.impossible_bytes:
            return "not proved at any capacity tried"
        share = percent(self.impossible_bytes / self.footprint_bytes)
        return f"with {format_bytes(self.impossible_bytes)}, {share}, by no {CLASS} (certified)"


def summarise_least_fast(
    least: LeastFast, result: Result, scene: Scene, *, out: str | None
) -> LeastFastSummary:
    """Sum up the search; `result` is the step under the plan that meets the limit."""
    trace = scene.trace
    return LeastFastSummary(
        title=f"{trace.model}, batch {trace.samples}, on {scene.machine.name}: how little fast memory?",
        limit=least.limit.words,
        footprint_bytes=least.footprint_bytes,
        impossible_bytes=least.impossible_bytes,
        achieved_bytes=least.achieved.fast_bytes,
        achieved_fraction=least.achieved.fast_bytes / least.footprint_bytes,
        step_time_s=result.step_time_s,
        energy_j=result.energy_j,
        bytes_out=result.bytes_out,
        probes=len(least.probes),
        out=out,
    )
