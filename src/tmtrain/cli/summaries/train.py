"""What ``tmtrain train`` does and tells: what is foreseen, and what was measured beside what was predicted."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tmtrain.cli.summaries.simulated_step import simulated_step
from tmtrain.machine import Machine, lifetime_s, load_machine
from tmtrain.policies import follow
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.runtime import RunResult, StepMeasure, train
from tmtrain.simulation import simulate
from tmtrain.units import DAY_S, YEAR_S, FastCapacity, format_bytes, format_seconds, format_years

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
        share = self.budget_bytes / self.footprint_bytes
        yield (
            "budget",
            f"{format_bytes(self.budget_bytes)} ({share:.1%} of {format_bytes(self.footprint_bytes)})",
        )
        yield (
            "step foreseen",
            f"{format_seconds(self.step_time_s)}, computation {format_seconds(self.compute_s)}",
        )
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
        last = run.steady[-1] if run.steady else run.steps[-1]
        yield "step", f"{format_seconds(run.step_time_s or last.step_time_s)}{self._beside(last)}"
        yield "waiting", f"{format_seconds(last.stall_s)} ({percent(last.stall_s / last.step_time_s)})"
        yield "bytes in", f"{format_bytes(last.bytes_in)}{_beside(last.bytes_in, self.simulated_bytes_in)}"
        yield (
            "bytes out",
            f"{format_bytes(last.bytes_out)}{_beside(last.bytes_out, self.simulated_bytes_out)}",
        )
        if self.written_bytes_per_day is not None and self.drive_life_s is not None:
            life = f"drive life {format_years(self.drive_life_s)} of training day and night"
            yield "written a day", f"{format_bytes(self.written_bytes_per_day)}, {life}"
        kernel = f"{format_bytes(last.drive_read_bytes)}, {format_bytes(last.drive_written_bytes)}"
        yield "by the kernel", kernel
        if last.energy_j is not None:
            watts = quantity(last.energy_j / last.step_time_s, "W")
            yield "energy", f"{quantity(last.energy_j, 'J')} of the processors a step, {watts}"
        if last.recomputations:
            yield "computed twice", f"{last.recomputations} operators a step"
        yield "peak", f"{format_bytes(max(step.peak_bytes for step in run.steps))} of what can move"
        yield (
            "beside it",
            f"{format_bytes(run.unmoved_bytes)} at most: temporaries in operators, small storages",
        )
        yield "fixed", f"{format_bytes(run.fixed_bytes)}: interpreter, libraries"
        for note in run.notes:
            yield "note", note

    def _beside(self, last: StepMeasure) -> str:
        return _beside(self.measured.step_time_s or last.step_time_s, self.simulated_step_time_s)


def foreseen_summary(
    target: str, budget: FastCapacity, *, flash: Sequence[Path], machine: Machine, objective: str | None
) -> ForeseenSummary:
    """Foresee a run; refuses a budget that an operator exceeds and drives that are too full, before anything is spent.

    Raises: as `tmtrain.runtime.following.foresight.foresee`; also for drives that have no room for it.
    """
    from tmtrain.runtime.following.foresight import foresee
    from tmtrain.runtime.following.planned_step import OBJECTIVE
    from tmtrain.runtime.tier.stripes import check_rooms

    seen = foresee(target, machine=machine, budget=budget, objective=objective or OBJECTIVE)
    check_rooms(flash, seen.trace.footprint_bytes)
    result = simulate(
        follow(seen.plan, seen.timeline, machine=seen.machine), machine=seen.machine, policy="tmtrain"
    )
    written_bytes_per_s = result.bytes_out / result.step_time_s
    life_s = lifetime_s(seen.machine.slow, written_bytes_per_s=written_bytes_per_s)
    return ForeseenSummary(
        footprint_bytes=seen.trace.footprint_bytes,
        budget_bytes=seen.budget_bytes,
        compute_s=seen.timeline.compute_s,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
        drive_life_s=life_s,
        warnings=tuple(_wear_warnings(life_s, written_bytes_per_s=written_bytes_per_s, objective=objective)),
    )


def run_summary(
    target: str,
    foreseen: ForeseenSummary | None,
    *,
    budget_bytes: int,
    flash: Sequence[Path],
    machine: Machine,
    steps: int,
    objective: str | None,
    checkpoint: Path | None,
    save_every: int | None,
    tell: Callable[[str], None],
) -> RunSummary:
    """Train for so many steps, from a checkpoint to a checkpoint, and simulate the steady one.

    Raises: as `tmtrain.train`, `Training.load`, `Training.step` and `Training.save`.
    """
    from tmtrain.capturing.jobs.user import find_function

    job = find_function(target).make_job(samples=1)
    with train(
        job.model, job.optimizer, job.step, budget_bytes=budget_bytes, flash=flash, machine=machine, restores=False,
        objective=objective,
    ) as training:  # fmt: skip
        if checkpoint is not None and checkpoint.exists():
            tell(f"{target}: go on from {checkpoint}")
            training.load(checkpoint)
        for number in range(1, steps + 1):
            training.step()
            done = training.result.steps[-1]
            tell(f"step {number} of {steps}: {format_seconds(done.step_time_s)}, {done.how}")
            if checkpoint is not None and (number == steps or number % (save_every or steps) == 0):
                tell(f"{target}: save to {checkpoint}")
                training.save(checkpoint)
        measured, planned_step = training.result, training.planned_step
    if planned_step is None or not measured.steady:
        return RunSummary(
            foreseen=foreseen, measured=measured,
            simulated_step_time_s=None, simulated_bytes_in=None, simulated_bytes_out=None,
            written_bytes_per_day=None, drive_life_s=None,
        )  # fmt: skip
    simulated, per_day = simulated_step(planned_step), measured.written_bytes_per_day
    return RunSummary(
        foreseen=foreseen,
        measured=measured,
        simulated_step_time_s=simulated.step_time_s,
        simulated_bytes_in=simulated.bytes_in,
        simulated_bytes_out=simulated.bytes_out,
        written_bytes_per_day=per_day,
        drive_life_s=lifetime_s(machine.slow, written_bytes_per_s=(per_day or 0.0) / DAY_S),
    )


def this_host(flash: Sequence[Path], machine: Path | None) -> Machine:
    """Return the machine of that file, or measure this host and the drives behind `flash`."""
    if machine is not None:
        return load_machine(machine)
    from tmtrain.runtime.host.measure import machine_text, measure_host

    with TemporaryDirectory() as folder:
        file = Path(folder) / "this-host.toml"
        file.write_text(machine_text(measure_host(flash)), encoding="utf-8")
        return load_machine(file)


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
