"""What ``tmtrain plan`` tells about a plan."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.cli.scene import Scene
from tmtrain.plans import Plan, Prediction
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.units import format_bytes, format_seconds

_UNITS = {"energy": "J", "time": "s", "bytes": "B", "writes": "B"}
"""A mix has no unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """The certificate without its prices."""

    bound: float
    """No plan of the class (`covers`) needs less; in the objective's unit, as are the next two."""
    measured: float | None
    """By the engine."""
    predicted: float
    """By the planner."""
    gap: float | None
    """Optimality gap: (measured - bound) / bound; null where the bound is 0."""
    prediction_error: float | None
    """(predicted - measured) / measured."""
    recomputes: bool
    """The bound covers plans that recompute too."""
    covers: str
    """Which plans the bound is about."""
    write_budget_bytes: float | None
    """The bound is for plans that write no more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """A plan in a few numbers."""

    title: str
    model: str
    batch: int
    machine: str
    fast_bytes: int
    footprint_bytes: int
    objective: str
    prediction: Prediction
    measurement: Prediction | None
    """The same by the engine."""
    origin: str
    """Who proposed the plan: the programme, or what the plan imitates."""
    ideal_step_time_s: float
    """Compute alone, everything resident."""
    certificate: Proof | None
    transfers: int
    """Absences of pieces of extents, between one access and the next."""
    recomputations: int
    """Operators, or pieces of them, that run again."""
    slices: int
    extents: int
    out: str | None
    """Where the plan was written."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        expected = self.measurement or self.prediction
        yield (
            "step time",
            f"{format_seconds(expected.step_time_s)} (ideal {format_seconds(self.ideal_step_time_s)})",
        )
        yield "energy", quantity(expected.energy_j, "J")
        yield "bytes in, out", f"{format_bytes(expected.bytes_in)}, {format_bytes(expected.bytes_out)}"
        yield "transfers", f"{self.transfers:,} of {self.extents:,} extents over {self.slices:,} slices"
        if self.recomputations:
            yield (
                "recomputation",
                f"{self.recomputations:,} recomputations, {format_seconds(expected.recompute_s)}",
            )
        if self.certificate is not None:
            yield "objective", f"{self.objective}: {self._found(self.certificate)}"
            yield "lower bound", f"{self._amount(self.certificate.bound)}{self._budget(self.certificate)}"
            yield "for every", self.certificate.covers
            yield "gap", percent(self.certificate.gap)
            yield "plan by", self.origin
        if self.out is not None:
            yield "plan", self.out

    def _found(self, proof: Proof) -> str:
        predicted = self._amount(proof.predicted)
        if proof.measured is None:
            return f"{predicted} predicted"
        error = percent(proof.prediction_error)
        return f"{self._amount(proof.measured)} measured ({predicted} predicted, {error} off)"

    def _budget(self, proof: Proof) -> str:
        budget = proof.write_budget_bytes
        return "" if budget is None else f" (at most {format_bytes(budget)} written)"

    def _amount(self, value: float) -> str:
        unit = _UNITS.get(self.objective, "")
        return format_bytes(value) if unit == "B" else quantity(value, unit)


def summarise_plan(plan: Plan, scene: Scene, *, out: str | None = None) -> PlanSummary:
    """Sum up a plan that was made in `scene`."""
    proof = plan.certificate
    return PlanSummary(
        title=scene.title,
        model=scene.trace.model,
        batch=scene.trace.samples,
        machine=plan.machine,
        fast_bytes=plan.fast_bytes,
        footprint_bytes=scene.timeline.footprint_bytes,
        objective=plan.objective,
        prediction=plan.prediction,
        measurement=plan.measurement,
        origin=plan.origin,
        ideal_step_time_s=scene.timeline.compute_s,
        certificate=None
        if proof is None
        else Proof(
            bound=proof.bound.value,
            measured=proof.measured,
            predicted=proof.predicted,
            gap=proof.gap,
            prediction_error=proof.prediction_error,
            recomputes=proof.recomputes,
            covers=proof.covers,
            write_budget_bytes=proof.write_budget_bytes,
        ),
        transfers=len(plan.transfers),
        recomputations=len(plan.recomputations),
        slices=len(scene.timeline.slices),
        extents=len(scene.timeline.extents),
        out=out,
    )
