"""When pages are written, and how long they are there all the same."""

import numpy as np
import pytest
from tests.support.machines import toy_machine
from tests.support.timelines import make_timeline

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.placing.pieces import FetchPieces, cut_pieces
from tmtrain.planning.placing.writing import find_writes, still_there
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.programme.pace import Pace

MACHINE = toy_machine(read_bytes_per_s=4096, write_bytes_per_s=4096, shared_bytes_per_s=4096)
"""Carries a page a second."""
PATIENT = make_timeline(
    ["a:w b:rw", "b:rw", "b:rw", "a:r b:rw", "b:rw", "a:r b:rw"], pages={"a": 1, "b": 1}, fast_pages=2
)
"""a is made in slice 0, stays for slice 3, and may leave then until slice 5."""
AT_ONCE = make_timeline(
    ["a:w b:rw", *["b:rw"] * 4, "a:r b:rw"], pages={"a": 4, "b": 1}, fast_pages=5, duration_s=[1.0] * 6
)
"""a is made in slice 0 and may leave at once."""


def _pace(*, reads: list[int], writes: list[int], stall_s: float = 0.0) -> Pace:
    """A bin for each slice."""
    return Pace(
        edges=np.arange(len(reads) + 1),
        pages_in=np.array(reads, np.float64),
        pages_ahead=np.zeros(len(reads)),
        pages_out=np.array(writes, np.float64),
        stall_s=np.full(len(reads), stall_s),
    )


def _moved(timeline: Timeline, *, start: int) -> tuple[Problem, FetchPieces]:
    """All of a is away in its gap that begins at slice `start`."""
    problem = build_problem(timeline)
    gaps = problem.gaps
    moved = np.where((gaps.extent == 0) & (gaps.start == start), gaps.pages, 0)
    return problem, cut_pieces(problem, moved, most=100)


@pytest.mark.parametrize(
    ("reads", "writes", "begin"),
    [
        ([0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0], 1),  # the link has time at once
        ([1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0], 2),  # reads have it first
        ([1, 1, 1, 0, 1, 1], [0, 0, 0, 1, 0, 0], 3),  # it never has time, but comes to a
        ([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1], 4),  # nor before a leaves
    ],
)
def test_a_patient_page_waits_for_time_to_spare_or_for_its_turn(
    reads: list[int], writes: list[int], begin: int
) -> None:
    problem, pieces = _moved(PATIENT, start=3)
    pace = _pace(reads=reads, writes=writes)
    times = find_writes(problem, pieces, pace, timeline=PATIENT, machine=MACHINE)
    assert times.begin.tolist() == [begin]


@pytest.mark.parametrize(("stall_s", "there"), [(0.0, [0, 4, 4, 4, 4, 0]), (3.0, [0, 4, 0, 0, 0, 0])])
def test_while_slices_wait_the_link_writes(stall_s: float, there: list[int]) -> None:
    """Four pages take four seconds: four slices, or one that waits for three."""
    problem, pieces = _moved(AT_ONCE, start=0)
    pace = _pace(reads=[0] * 6, writes=[0] * 6, stall_s=stall_s)
    begin = np.array([1])
    pages = still_there(problem, pieces, begin, pace, timeline=AT_ONCE, machine=MACHINE)
    assert pages.tolist() == there
