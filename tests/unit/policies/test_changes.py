"""Small changes of a plan's times: legal ones, and only those that help."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from tests.support.simulated import step
from tests.support.steps import links, steps
from tests.support.thoroughness import examples

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import propose
from tmtrain.planning.problem.problem import build_problem
from tmtrain.plans import Transfers
from tmtrain.policies.ours.changes import Change, changes_of
from tmtrain.policies.ours.verbs import Search

A_IS_AWAY = step(["a:r", "b:r", "c:new", "c:r"], pages={"a": 4, "b": 2, "c": 2}, fast_pages=6)
"""Room for all but 2 pages, where `c` is: in slices 2 and 3."""


def _row(*, leave: int, fetch: int, back: int, pages: int = 2) -> Transfers:
    def column(value: int) -> np.ndarray:
        return np.array([value], np.int32)

    return Transfers(
        extent=column(0),
        first_page=np.array([0]),
        pages=np.array([pages]),
        write_slice=column(leave),
        written_slice=column(leave),
        leave_slice=column(leave),
        fetch_slice=column(fetch),
        return_slice=column(back),
    )


def test_a_fetch_comes_no_earlier_than_there_is_room() -> None:
    problem = build_problem(A_IS_AWAY)
    late = _row(leave=1, fetch=4, back=4)
    earlier = Change(rows=np.array([0]), column="fetch_slice", slices=-1)
    assert earlier.of(late, problem=problem) is None
    roomy = build_problem(replace(A_IS_AWAY, fast_bytes=8 * A_IS_AWAY.page_bytes))
    changed = earlier.of(late, problem=roomy)
    assert changed is not None
    assert changed.fetch_slice.tolist() == [3]


def test_times_stay_between_leave_and_return() -> None:
    problem = build_problem(A_IS_AWAY)
    late = _row(leave=1, fetch=4, back=4)
    written = Change(rows=np.array([0]), column="written_slice", slices=4).of(late, problem=problem)
    assert written is not None
    assert written.written_slice.tolist() == [4]
    assert Change(rows=np.array([0]), column="fetch_slice", slices=1).of(late, problem=problem) is None


def test_what_moves_in_one_gap_changes_together() -> None:
    one = _row(leave=1, fetch=4, back=4)
    two_pieces = Transfers(**{name: np.concatenate([getattr(one, name)] * 2) for name in one.__slots__})
    assert {tuple(change.rows) for change in changes_of(two_pieces, num_slices=4)} == {(0, 1)}


@given(timeline=steps(unit=4, max_slices=8), machine=links())
@examples(15)
def test_looking_around_never_makes_a_plan_worse(timeline: Timeline, machine: Machine) -> None:
    search = Search(timeline=timeline, machine=machine, objective="time")
    search.look_at(next(propose(timeline, machine=machine, objective="time")))
    before = search.best
    search.look_around()
    assert before.certificate is not None
    assert search.best.certificate is not None
    assert before.certificate.measured is not None
    assert search.best.certificate.measured is not None
    assert search.best.certificate.measured <= before.certificate.measured
