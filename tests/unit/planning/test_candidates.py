"""What may be recomputed in a step small enough to write down: `IDLE_STEP`, a made from x, u made from t."""

import numpy as np
from tests.support.row_steps import IDLE_STEP, lowered, row_machine

from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.recomputation.candidates import (
    ChainedRead,
    RecomputeCandidates,
    RecomputeUnit,
    RowRange,
    UnitResult,
)
from tmtrain.planning.recomputation.partitions import find_partitions

A, T, U = 0, 1, 2
"""Producers, in order of their operators."""


def find() -> RecomputeCandidates:
    timeline = lowered(IDLE_STEP, machine=row_machine(), spare_pages=0)
    return find_partitions(timeline, build_problem(timeline))[0].candidates


def test_the_one_storage_that_backward_reads_is_the_one_unit() -> None:
    (unit,) = find().units
    (gap,) = unit.gaps
    assert unit == RecomputeUnit(
        storage=unit.storage, first_page=0, pages=2, final=0, start=0, end=3, points=(3,), gaps=(gap,)
    )


def test_every_producer_may_run_over_all_its_rows_just_before_backward() -> None:
    recomputations = find().recomputations
    assert [q.producer for q in recomputations] == [A, T, U]
    assert [q.rows for q in recomputations] == [RowRange(first=0, end=2, count=2)] * 3
    assert [q.point for q in recomputations] == [3, 3, 3]
    assert recomputations[T].strip == recomputations[U].strip != recomputations[A].strip, (
        "u follows t row by row"
    )


def test_ties_say_what_is_made_and_what_is_read() -> None:
    candidates = find()
    assert candidates.results == (UnitResult(recomputation=A, unit=0),)
    assert candidates.chained_reads == (ChainedRead(reader=U, source=T),)
    assert candidates.stored_reads == (), "x is always there"
    assert not candidates.impossible


def test_columns_follow_the_order_of_the_units() -> None:
    candidates = find()
    np.testing.assert_array_equal(candidates.first_columns, [0, 2])
    np.testing.assert_array_equal(candidates.storages, [candidates.units[0].storage])
    np.testing.assert_array_equal(candidates.replaced_gaps, candidates.units[0].gaps)


def test_nothing_is_the_default() -> None:
    nothing = RecomputeCandidates()
    assert nothing.first_columns.tolist() == [0]
    assert nothing.replaced_gaps.tolist() == nothing.storages.tolist() == []
