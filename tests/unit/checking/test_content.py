"""Each recomputation must find the content of the first run, row by row, and leave what the step needs."""

from itertools import pairwise

import numpy as np
import pytest
from tests.support.row_steps import Op, RowStep, lowered, row_machine, trace_of

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.content import check_content, read_producers, sound_recomputations
from tmtrain.checking.rules.recompute_slices import check_slices
from tmtrain.checking.rules.rows import ALL, RowVersions
from tmtrain.checking.walk import walk
from tmtrain.lowering import Recomputations, insert_recomputations
from tmtrain.trace import Phase

BACK = Phase.BACKWARD
STEP = RowStep(
    rows=4,
    ops=(
        Op(reads=("x",), makes=("a",)),
        Op(reads=("a",), makes=("b",)),
        Op(reads=("b",), makes=("c",)),
        Op(updates=("c",)),
        Op(reads=("c",), makes=("g0",), phase=BACK),
        Op(reads=("g0", "b"), makes=("g1",), phase=BACK),
        Op(updates=("a",), phase=BACK),
        Op(reads=("g1", "a", "b"), makes=("g2",), phase=BACK),
    ),
    pages={"x": 8, "a": 8, "b": 8, "c": 4, "g0": 4, "g1": 4, "g2": 4},
)
MACHINE = row_machine()
TIMELINE = lowered(STEP, machine=MACHINE, spare_pages=8)
TRACE = trace_of(STEP)
B, C = 0, 1
"""Producers, by what they make; C in two operators. There is none for a, which backward works on."""


def broken_rules(*recomputations: tuple[int, int, int, int, int]) -> list[str]:
    """Check recomputations (producer, before slice, first row, end row, rows); return the rules they break."""
    columns = np.array(recomputations, np.int64).reshape(-1, 5).T
    table = Recomputations(
        producer=columns[0].astype(np.int32),
        before_slice=columns[1].astype(np.int32),
        first_row=columns[2],
        end_row=columns[3],
        rows=columns[4],
    )
    findings = Findings()
    sound = sound_recomputations(TIMELINE, table, findings=findings)
    book = read_producers(TRACE, TIMELINE)
    check_content(TRACE, TIMELINE, walk(TIMELINE), book, sound, findings=findings)
    if sound:
        check_slices(
            TIMELINE, insert_recomputations(TIMELINE, table, machine=MACHINE), book, sound, findings=findings
        )
    return [violation.rule for violation in findings.violations]


def test_the_producers_are_these() -> None:
    assert read_producers(TRACE, TIMELINE).ops == [[1], [2, 3]]
    assert TIMELINE.producers.rows.tolist() == [4, 4]


@pytest.mark.parametrize(
    "recomputations",
    [
        [],
        [(B, 5, 0, 4, 4)],
        [(B, 5, 0, 1, 4), (B, 5, 2, 4, 4)],
        [(B, 4, 0, 2, 4), (C, 4, 0, 2, 4)],
        [(C, 5, 1, 2, 2)],
    ],
)
def test_recomputations_that_find_what_they_need(
    recomputations: list[tuple[int, int, int, int, int]],
) -> None:
    assert broken_rules(*recomputations) == []


def test_what_was_overwritten_meanwhile_is_no_input() -> None:
    assert broken_rules((B, 7, 0, 4, 4)) == ["recomputation-input"]


def test_nothing_is_recomputed_before_its_first_run() -> None:
    assert set(broken_rules((B, 0, 0, 4, 4))) == {"recomputation-input"}
    assert set(broken_rules((C, 3, 0, 4, 4))) == {"recomputation-input"}


def test_rows_that_do_not_fit_the_producer_are_none() -> None:
    assert (
        broken_rules((B, 5, 0, 2, 3))
        == broken_rules((B, 5, 2, 2, 4))
        == broken_rules((7, 5, 0, 4, 4))
        == ["recomputation"]
    )


def test_row_versions_split_and_join() -> None:
    rows, quarters = RowVersions(), [ALL[0] + ALL[1] * i / 4 for i in range(5)]
    for begin, end in pairwise(quarters):
        rows.set((begin, end), 1)
    assert rows.of(ALL) == [(0, 1, 1)]
    rows.set((quarters[1], quarters[2]), 2)
    assert [version for *_, version in rows.of(ALL)] == [1, 2, 1]
    assert rows.of((quarters[1], quarters[2])) == [(quarters[1], quarters[2], 2)]
