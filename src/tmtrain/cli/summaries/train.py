"""What ``tmtrain train`` tells: what is foreseen, and what was measured beside what was predicted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmtrain.cli.summaries.simulated_step import SimulatedStep, simulated_step
from tmtrain.machine import Machine, lifetime_s
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.runtime import RunResult, StepMeasure
from tmtrain.simulation import Result
from tmtrain.units import DAY_S, YEAR_S, format_bytes, format_seconds, format_years

if TYPE_CHECKING:
    from tmtrain.runtime.following.foresight import Foresight
    from tmtrain.runtime.following.planned_step import PlannedStep

SHORT_LIFE_S = YEAR_S
"""Of a drive: a run that wears it out sooner is warned of. Drives are warranted for three to five years."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeseenSummary:
    """A run before it begins; times by the machine's model of this host."""

    footprint_bytes: int
    """Of what can move."""
    budget_bytes: int
    compute_s: float
    step_time_s: float
    bytes_in: int
    bytes_out: int
    drive_life_s: float
    """Training day and night."""
    warnings: tuple[str, ...]
    """What one may not want, and what to do."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values."""
        share, whole = self.budget_bytes / self.footprint_bytes, format_bytes(self.footprint_bytes)
        yield "budget", f"{format_bytes(self.budget_bytes)} ({share:.1%} of {whole})"
        computation = format_seconds(self.compute_s)
        yield "step foreseen", f"{format_seconds(self.step_time_s)}, computation {computation}"
        yield "bytes in, out", f"{format_bytes(self.bytes_in)}, {format_bytes(self.bytes_out)} each step"
        yield "drive life", f"{format_years(self.drive_life_s)} of training day and night"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """A run that is over, its steady step beside the simulated one."""

    foreseen: ForeseenSummary | None
    """None where the step cannot be captured on fake tensors."""
    measured: RunResult
    simulated_step_time_s: float | None
    """With the recorded step on the measured drive; None without steady steps."""
    simulated_bytes_in: int | None
    simulated_bytes_out: int | None
    written_bytes_per_day: float | None
    """Of steady steps, training day and night; None without them."""
    drive_life_s: float | None
    """At that rate."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values."""
        run = self.measured
        hows = [step.how for step in run.steps]
        yield "budget", format_bytes(run.budget_bytes)
        yield "steps", ", ".join(f"{hows.count(how)} {how}" for how in dict.fromkeys(hows))
        yield from self._step_lines(run.steady[-1] if run.steady else run.steps[-1])
        if run.plans_adopted:
            yield "monitor", f"changed the plan {run.plans_adopted} times"
        yield "peak", f"{format_bytes(max(step.peak_bytes for step in run.steps))} of what can move"
        beside = f"{format_bytes(run.unmoved_bytes)} at most: temporaries in operators, small storages"
        yield "beside it", beside
        yield "fixed", f"{format_bytes(run.fixed_bytes)}: interpreter, libraries"
        for note in run.notes:
            yield "note", note

    def _step_lines(self, step: StepMeasure) -> Iterator[tuple[str, str]]:
        seconds = self.measured.step_time_s or step.step_time_s
        yield "step", format_seconds(seconds) + _beside(seconds, self.simulated_step_time_s)
        yield "waiting", f"{format_seconds(step.stall_s)} ({percent(step.stall_s / step.step_time_s)})"
        yield "bytes in", format_bytes(step.bytes_in) + _beside(step.bytes_in, self.simulated_bytes_in)
        yield "bytes out", format_bytes(step.bytes_out) + _beside(step.bytes_out, self.simulated_bytes_out)
        if self.written_bytes_per_day is not None and self.drive_life_s is not None:
            life = f"drive life {format_years(self.drive_life_s)} of training day and night"
            yield "written a day", f"{format_bytes(self.written_bytes_per_day)}, {life}"
        kernel = f"{format_bytes(step.drive_read_bytes)}, {format_bytes(step.drive_written_bytes)}"
        yield "by the kernel", kernel
        if step.energy_j is not None:
            watts = quantity(step.energy_j / step.step_time_s, "W")
            yield "energy", f"{quantity(step.energy_j, 'J')} of the processors a step, {watts}"
        if step.recomputations:
            yield "computed twice", f"{step.recomputations} operators a step"


def summarise_foresight(foresight: "Foresight", result: Result, *, objective: str | None) -> ForeseenSummary:
    """Sum up a run before it begins; `result` is its steady step, simulated."""
    written_bytes_per_s = result.bytes_out / result.step_time_s
    life_s = lifetime_s(foresight.machine.slow, written_bytes_per_s=written_bytes_per_s)
    return ForeseenSummary(
        footprint_bytes=foresight.trace.footprint_bytes,
        budget_bytes=foresight.budget_bytes,
        compute_s=foresight.timeline.compute_s,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
        drive_life_s=life_s,
        warnings=tuple(_wear_warnings(life_s, written_bytes_per_s=written_bytes_per_s, objective=objective)),
    )


def summarise_run(
    run: RunResult, planned_step: "PlannedStep | None", *, foreseen: ForeseenSummary | None, machine: Machine
) -> RunSummary:
    """Sum up a run that is over, and simulate its steady step where it has one."""
    simulated: SimulatedStep | None = None
    per_day: float | None = None
    life_s: float | None = None
    if planned_step is not None and run.steady:
        simulated, per_day = simulated_step(planned_step), run.written_bytes_per_day
        life_s = lifetime_s(machine.slow, written_bytes_per_s=(per_day or 0.0) / DAY_S)
    return RunSummary(
        foreseen=foreseen,
        measured=run,
        simulated_step_time_s=simulated.step_time_s if simulated else None,
        simulated_bytes_in=simulated.bytes_in if simulated else None,
        simulated_bytes_out=simulated.bytes_out if simulated else None,
        written_bytes_per_day=per_day,
        drive_life_s=life_s,
    )


def _wear_warnings(life_s: float, *, written_bytes_per_s: float, objective: str | None) -> Iterator[str]:
    if life_s >= SHORT_LIFE_S:
        return
    remedy = "give a larger --budget, or more or larger drives"
    if objective != "writes":
        remedy = f"say --objective writes, which computes more twice, or {remedy}"
    yield (
        f"the drive is foreseen to be worn out by {format_years(life_s)} of training day and night, "
        f"{format_bytes(written_bytes_per_s * DAY_S)} written a day: {remedy}"
    )


def _beside(measured: float, simulated: float | None) -> str:
    """Return by how much a simulated number is off, in words."""
    if simulated is None or not measured:
        return ""
    return f" (simulated {(simulated - measured) / measured:+.1%})"
