"""A Scene: what a command plans and simulates in, made from what the user named."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter

from tmtrain.capturing import StepOptions
from tmtrain.evaluation import trace_of
from tmtrain.lowering import Timeline, lower
from tmtrain.lowering.measured import check_measured, measured_seconds
from tmtrain.machine import Machine, load_machine
from tmtrain.plans import Plan
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity, format_bytes

ModelOptions: TypeAlias = Annotated[
    StepOptions, Parameter(name="*", group=Group("Options of zoo models", sort_key=9))
]
"""Each field of `StepOptions` as an option of its own."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOptions:
    """How the step that the user named is read or captured; each field is an option of its own."""

    samples: int | None = None
    """Samples in the batch of your own step."""
    step: int | None = None
    """Which step of an execution trace of several, from 1; by default the last whole one that repeats another."""
    calibration: Path | None = None
    """Measured times of operators, CSV or Parquet, in place of the model's."""
    model: ModelOptions | None = None
    """How the zoo model is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One step on one machine with one capacity of the fast tier."""

    trace: Trace
    machine: Machine
    timeline: Timeline

    @property
    def title(self) -> str:
        """What the numbers below it are about."""
        timeline = self.timeline
        share = timeline.fast_bytes / timeline.footprint_bytes
        return (
            f"{self.trace.model}, batch {self.trace.samples}, on {self.machine.name} with "
            f"{format_bytes(timeline.fast_bytes)} fast memory ({share:.1%} of {format_bytes(timeline.footprint_bytes)})"
            f"{self._measured}{self._step}"
        )

    @property
    def _step(self) -> str:
        """Which step of several was taken."""
        note = self.trace.options.get("step")
        return "" if note is None else f", step {f'{note}'.partition(',')[0]}"

    @property
    def _measured(self) -> str:
        """How many operators have measured times."""
        if self.machine.calibration is None:
            return ""
        seconds = measured_seconds(self.trace, self.machine.calibration)
        working = ~self.trace.operators.is_view
        return f", {int((seconds > 0).sum()):,} of {int(working.sum()):,} operators measured"


def make_scene(
    source: str,
    *,
    machine: str,
    fast: FastCapacity,
    options: SceneOptions | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Scene:
    """Find or capture the step, and lower it.

    Args:
        source: A trace folder, a zoo model, ``FILE.py:FUNCTION``, or a step from outside.
        machine: A preset or a TOML file.
        fast: Capacity of the fast tier.
        options: How the step is read or captured.
        tell: Called with a line before each piece of work.

    Raises:
        InputError: unknown source or machine, options that do not apply, an unreadable file.
        CaptureError: the step could not be captured.
        InfeasibleError: an operator does not fit into the fast tier.
    """
    options = options or SceneOptions()
    loaded = load_machine(machine, calibration=options.calibration)
    tell(f"{source}: capture")
    trace = trace_of(source, options.model, samples=options.samples, step=options.step)
    if "step" in trace.options:
        tell(f"{source}: step {trace.options['step']}")
    if options.calibration is not None:
        check_measured(trace, loaded, file=options.calibration)
    tell(f"{source}: lower onto {loaded.name}")
    fast_bytes = fast.of(trace.footprint_bytes, page_bytes=loaded.slow.page_bytes)
    return Scene(trace=trace, machine=loaded, timeline=lower(trace, machine=loaded, fast_bytes=fast_bytes))


def scene_of_plan(
    plan: Plan,
    source: str,
    *,
    machine: str | None,
    options: SceneOptions | None,
    tell: Callable[[str], None],
) -> Scene:
    """Find or capture the step that a plan was made for, and lower it as it was then; errors as `make_scene`."""
    fast = FastCapacity(bytes=plan.fast_bytes)
    return make_scene(source, machine=machine or plan.machine, fast=fast, options=options, tell=tell)
