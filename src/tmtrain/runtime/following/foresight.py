"""What a run will need and do, from a capture on fake tensors, before a byte is spent."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmtrain.capturing.fake import capture_user_function
from tmtrain.capturing.jobs.user import UserFunction, find_function
from tmtrain.errors import InfeasibleError
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.runtime.dispatch.chunked_optimizers import ChunkedOptimizers
from tmtrain.runtime.dispatch.chunked_rows import LARGE, ChunkedRows
from tmtrain.runtime.following.movable import movable_part
from tmtrain.runtime.following.planned_step import OBJECTIVE, plan_run
from tmtrain.runtime.tier.pages import SMALLEST_BYTES
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity, format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """A run as it is expected; times are those that the machine's model says."""

    trace: Trace
    """Of what can move."""
    budget_bytes: int
    timeline: Timeline
    plan: Plan
    machine: Machine


def foresee(target: str, *, machine: Machine, budget: FastCapacity, objective: str = OBJECTIVE) -> Foresight:
    """Capture the user's step on fake tensors and plan it as a real run would.

    Args:
        target: ``FILE.py:FUNCTION``, as for `tmtrain.capture_function`.
        machine: This host, as ``tmtrain machine measure`` describes it.
        budget: Bytes, or a share of what can move of the step.
        objective: What the plan minimises.

    Raises:
        CaptureError: the step cannot be captured on fake tensors.
        InfeasibleError: an operator needs more than the budget; it is named, with its need.
    """
    function = find_function(target)
    trace = _captured(function, machine=machine)
    budget_bytes = budget.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    if _needs(trace).max() > LARGE * budget_bytes:  # a run would chunk what it can
        trace = _captured(function, machine=machine, budget_bytes=budget_bytes)
    _check_fits(trace, budget_bytes)
    timeline, run_plan = plan_run(trace, machine=machine, budget_bytes=budget_bytes, objective=objective)
    return Foresight(
        trace=trace, budget_bytes=budget_bytes, timeline=timeline, plan=run_plan, machine=machine
    )


def _captured(function: UserFunction, *, machine: Machine, budget_bytes: int | None = None) -> Trace:
    """Capture what can move of a step that runs as in this budget; without one, tensors stay whole."""
    chunked = replace(function, call=lambda: _chunked_job(function, budget_bytes=budget_bytes))
    return _movable(
        capture_user_function(chunked, name=function.target, samples=1, operators="cpu"), machine=machine
    )


def _chunked_job(function: UserFunction, *, budget_bytes: int | None) -> Any:
    """Make the job whose steps run list operators item by item, the smallest chunks that a real run may use."""
    job = function.make_job(samples=1)

    def step() -> None:
        with nullcontext() if budget_bytes is None else ChunkedRows(budget_bytes), ChunkedOptimizers(0):
            job.step()

    return job.model, job.optimizer, step


def _movable(trace: Trace, *, machine: Machine) -> Trace:
    roomy = trace.footprint_bytes * 2 + machine.slow.page_bytes * len(trace.storages)
    modelled = lower(trace, machine=machine, fast_bytes=roomy, whole_operators=True).slices
    seconds = dict(enumerate(np.bincount(modelled.op, modelled.duration_s, len(trace.operators)).tolist()))
    rows = np.flatnonzero(trace.storages.bytes >= SMALLEST_BYTES).tolist()
    return movable_part(trace, rows=rows, seconds=seconds)


def _needs(trace: Trace) -> NDArray[np.int64]:
    """Return the bytes that each operator touches, shape (operators,)."""
    needs = np.zeros(len(trace.operators), np.int64)
    np.add.at(needs, trace.operands.op, trace.operands.span_bytes)
    return needs


def _check_fits(trace: Trace, budget_bytes: int) -> None:
    needs = _needs(trace)
    most = int(needs.argmax())
    if needs[most] > budget_bytes:
        where = f" in module {trace.operators.module[most]!r}" if trace.operators.module[most] else ""
        raise InfeasibleError(
            f"operator {most} ({trace.operators.name[most]}{where}) needs {format_bytes(needs[most])} at once, more than "
            f"any other; the budget has {format_bytes(budget_bytes)}: give at least `--budget {int(needs[most])}B`, or the "
            "step a smaller batch",
            limit="memory",
            needed_bytes=int(needs[most]),
            capacity_bytes=budget_bytes,
            operator=trace.operators.name[most],
            operator_index=most,
            module=trace.operators.module[most] or None,
        )
