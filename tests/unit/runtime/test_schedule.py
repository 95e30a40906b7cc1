"""The part of a step that can move, whole operators, and a plan as moves before operators, in bytes."""

import numpy as np
import pytest
from tests.support.machines import toy_machine
from tests.support.proposals import proposed

from tmtrain.errors import InfeasibleError
from tmtrain.lowering import Timeline, lower
from tmtrain.plans import Plan
from tmtrain.runtime.following.movable import movable_part
from tmtrain.runtime.following.schedule import Moves, OperatorSchedule, schedule_of
from tmtrain.trace import Trace, example_trace

PAGE = 1024
MATRIX = 4096


def _part() -> Trace:
    trace = example_trace()
    rows = np.flatnonzero(trace.storages.bytes == MATRIX).tolist()
    return movable_part(trace, rows=rows, seconds=dict.fromkeys(range(10), 1.0))


def _planned(fast_bytes: int) -> tuple[Trace, Timeline, Plan]:
    part, machine = _part(), toy_machine(page_bytes=PAGE)
    timeline = lower(part, machine=machine, fast_bytes=fast_bytes, whole_operators=True)
    return part, timeline, proposed(timeline, machine=machine, objective="bytes", recompute=False)


def test_small_storages_are_left_out_and_operands_are_whole_storages() -> None:
    part = _part()
    assert set(part.storages.bytes.tolist()) == {MATRIX}
    assert set(part.operands.span_bytes.tolist()) == {MATRIX}  # none is touched in part
    assert "mse_loss#2.0" not in part.storages.name
    pairs = list(zip(part.operands.op.tolist(), part.operands.storage.tolist(), strict=True))
    assert len(set(pairs)) == len(pairs)


def test_the_time_of_operators_that_touch_nothing_goes_to_the_next_and_none_is_lost() -> None:
    part = _part()
    assert part.operators.duration_s is not None
    assert part.operators.duration_s[5] == 0.0  # a view
    assert part.operators.duration_s[6] == 2.0
    assert part.operators.duration_s.sum() == 10.0


def test_whole_operators_are_one_slice_each() -> None:
    _, timeline, _ = _planned(16 * MATRIX)
    assert len(set(timeline.slices.op.tolist())) == len(timeline.slices)
    with pytest.raises(InfeasibleError, match=r"operator \d \(aten\.\w+\.\w+.* needs 12.00 KiB"):
        _planned(2 * MATRIX)


def test_a_schedule_moves_what_the_plan_moves_and_between_its_uses() -> None:
    part, timeline, run_plan = _planned(3 * MATRIX)
    schedule = _schedule(part, timeline, run_plan)
    assert not any((schedule.producers, schedule.discards, schedule.recomputes))
    assert _bytes(schedule.fetches) == _bytes(schedule.leaves) == run_plan.prediction.bytes_in > 0
    uses = {
        (part.storages.name[row], op)
        for op, row in zip(part.operands.op.tolist(), part.operands.storage.tolist(), strict=True)
    }
    for op, moves in schedule.fetches.items():
        for move in moves:
            assert (move.storage, (op + move.due) % len(part.operators)) in uses
            assert 0 <= move.first_byte < move.end_byte <= MATRIX
    for op, moves in schedule.leaves.items():
        for move in moves:
            assert (move.storage, op) not in uses


def _schedule(part: Trace, timeline: Timeline, run_plan: Plan) -> OperatorSchedule:
    machine = toy_machine(page_bytes=PAGE)
    return schedule_of(
        run_plan, timeline, machine=machine, names=part.storages.name, num_operators=len(part.operators)
    )


def _bytes(moves: Moves) -> int:
    return sum(move.end_byte - move.first_byte for some in moves.values() for move in some)
