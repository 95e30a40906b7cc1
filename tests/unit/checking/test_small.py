"""Storages of fewer pages than rows: whoever makes some of their rows anew loses the others."""

from dataclasses import replace

import numpy as np
from tests.support.row_steps import Op, RowStep, lowered, row_machine, trace_of

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.content import check_content, read_producers, sound_recomputations
from tmtrain.checking.walk import walk
from tmtrain.lowering import Recomputations
from tmtrain.trace import Phase

STEP = RowStep(
    rows=4,
    ops=(
        Op(reads=("x",), makes=("mask",)),
        Op(reads=("mask", "x"), makes=("b",)),
        Op(reads=("b",), makes=("g",), phase=Phase.BACKWARD),
    ),
    pages={"x": 4, "mask": 4, "b": 4, "g": 4},
)
TIMELINE = lowered(STEP, machine=row_machine(), spare_pages=8)


def broken_rules(pieces: list[tuple[int, int, int]]) -> list[str]:
    """Check recomputations (producer, first row, end row) of 8 rows before backward, where a page holds two rows."""
    table = np.array(pieces, np.int64).reshape(-1, 3).T
    producers = replace(TIMELINE.producers, rows=TIMELINE.producers.rows * 2)
    timeline, findings = replace(TIMELINE, producers=producers), Findings()
    count = len(pieces)
    recomputations = Recomputations(
        producer=table[0].astype(np.int32),
        before_slice=np.full(count, 2, np.int32),
        first_row=table[1],
        end_row=table[2],
        rows=np.full(count, 8),
    )
    trace = trace_of(STEP)
    sound = sound_recomputations(timeline, recomputations, findings=findings)
    check_content(trace, timeline, walk(timeline), read_producers(trace, timeline), sound, findings=findings)
    return [violation.rule for violation in findings.violations]


def test_what_was_made_may_be_read() -> None:
    assert broken_rules([(0, 0, 4), (1, 0, 4)]) == []
    assert broken_rules([(0, 0, 4), (0, 4, 8), (1, 0, 8)]) == []


def test_the_other_rows_are_lost() -> None:
    """As when a mask is made in pieces, and read whole between the first piece and the rest."""
    assert broken_rules([(0, 0, 4), (1, 0, 8), (0, 4, 8)]) == ["recomputation-input"]
