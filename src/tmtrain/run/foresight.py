"""What a run will need and do, from a capture on fake tensors, before a byte is spent."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tmtrain.capture.fake import capture_user_function
from tmtrain.capture.user import UserFunction, find_function
from tmtrain.errors import InfeasibleError
from tmtrain.lower import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.plan import Plan
from tmtrain.run.movable import movable_part
from tmtrain.run.pages import SMALLEST_BYTES
from tmtrain.run.pieces import Pieces
from tmtrain.run.route import OBJECTIVE, plan_run
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
    in_pieces = replace(function, call=lambda: _in_pieces(function))
    whole = capture_user_function(in_pieces, name=target, samples=1)
    trace = _movable(whole, machine=machine)
    budget_bytes = budget.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    _check_fits(trace, budget_bytes)
    timeline, made = plan_run(trace, machine=machine, budget_bytes=budget_bytes, objective=objective)
    return Foresight(trace=trace, budget_bytes=budget_bytes, timeline=timeline, plan=made, machine=machine)


def _in_pieces(function: UserFunction) -> Any:
    """Make the job whose steps run list operators item by item, the finest that a real run may cut them."""
    job = function.make_job(samples=1)

    def step() -> None:
        with Pieces(0):
            job.step()

    return job.model, job.optimizer, step


def _movable(trace: Trace, *, machine: Machine) -> Trace:
    roomy = trace.footprint_bytes * 2 + machine.slow.page_bytes * len(trace.storages)
    modelled = lower(trace, machine=machine, fast_bytes=roomy, whole_operators=True).slices
    seconds = dict(enumerate(np.bincount(modelled.op, modelled.duration_s, len(trace.operators)).tolist()))
    rows = np.flatnonzero(trace.storages.bytes >= SMALLEST_BYTES).tolist()
    return movable_part(trace, rows=rows, seconds=seconds)


def _check_fits(trace: Trace, budget_bytes: int) -> None:
    sizes = trace.storages.bytes[trace.operands.storage]
    needs = np.bincount(trace.operands.op, sizes, len(trace.operators))
    most = int(needs.argmax())
    if needs[most] > budget_bytes:
        where = f" in module {trace.operators.module[most]!r}" if trace.operators.module[most] else ""
        raise InfeasibleError(
            f"operator {most} ({trace.operators.name[most]}{where}) needs {format_bytes(needs[most])} at once, more than "
            f"any other; the budget has {format_bytes(budget_bytes)}: give at least `--budget {int(needs[most])}B`, or the "
            "step a smaller batch"
        )
