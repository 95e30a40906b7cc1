"""From the basis of a level to one of the next.

Note [Refining a basis]
    A bin that was one becomes several. The last of them takes over what its columns and rows were in the basis. For each
    of the others we look for as many basic columns as it has rows, among those that were basic for the long bin and the
    stocks that the level had not. Then the multipliers of the long bin are right for all of its bins: reduced costs keep
    their signs, and the dual simplex goes on from the optimum of the level before. Only what no longer fits is changed.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.highs import BASIC, LOWER, UPPER, Basis
from tmtrain.planning.programme.levels.grid import (
    CHANNELS,
    CLASSES,
    END_ROWS,
    FLOWS,
    LATE,
    STOCKS,
    SUMMED_ROWS,
    Grid,
)
from tmtrain.planning.programme.levels.reduction import BinFamilies, slices_of
from tmtrain.planning.programme.levels.whole import Whole

_ROWS = (*SUMMED_ROWS, *END_ROWS)
_COLUMNS = (*FLOWS, *STOCKS)
_LOOSE = (*CHANNELS, *END_ROWS)
"""Rows that are inequalities: each is a candidate by its own slack."""
_CANDIDATES = (*_COLUMNS, *(f"slack of {name}" for name in _LOOSE))
INDEPENDENT = 1e-6
"""Columns whose part outside of the span of others is shorter, relatively, depend on these."""


def refine(basis: Basis, whole: Whole, *, coarse: Grid, fine: Grid) -> Basis:
    """Fill in the columns and rows that `coarse` has not and `fine` has."""
    columns, rows = basis.columns.copy(), basis.rows.copy()
    families = BinFamilies(whole.model)
    new = np.setdiff1d(fine.ends, coarse.ends)
    long = coarse.ends[coarse.group[new]]
    # What a level did not look at: absent pages at the ends of bins are whatever the moves make them.
    slices = np.setdiff1d(slices_of(whole.model, fine), slices_of(whole.model, coarse))
    fresh = slices[columns[whole.absent.start + slices] < 0]
    columns[whole.absent.start + fresh], rows[whole.absence.start + fresh] = BASIC, LOWER
    matrix = _candidates_of_a_bin(whole, families)
    was = _was_basic(basis, families, long)
    patterns, of_bin = np.unique(was, axis=1, return_inverse=True)
    choices = [_choose(pattern, matrix) for pattern in patterns.T]
    chosen = np.array(choices, bool).reshape(-1, len(_CANDIDATES))[of_bin].T
    own, slack = chosen[: len(_COLUMNS)], chosen[len(_COLUMNS) :]
    columns[families.of_columns(_COLUMNS, new)] = np.where(own, BASIC, LOWER)
    rows[families.of_rows(_ROWS, new)] = LOWER
    tight = np.array([UPPER if name in CHANNELS else LOWER for name in _LOOSE])[:, None]
    rows[families.of_rows(_LOOSE, new)] = np.where(slack, BASIC, tight)
    return Basis(columns=columns, rows=rows)


def _was_basic(basis: Basis, families: BinFamilies, bins: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which candidates were basic for the long bins, shape (candidates, bins)."""
    columns = basis.columns[families.of_columns(_COLUMNS, bins)]
    return np.concatenate([columns, basis.rows[families.of_rows(_LOOSE, bins)]]) == BASIC


def _candidates_of_a_bin(whole: Whole, families: BinFamilies) -> NDArray[np.float64]:
    """Return the columns of one bin in its own rows and the slacks of these, shape (rows, candidates)."""
    one = np.zeros(1, np.int64)
    rows, columns = families.of_rows(_ROWS, one).ravel(), families.of_columns(_COLUMNS, one).ravel()
    slacks = np.array([[row == name for name in _LOOSE] for row in _ROWS], np.float64)
    return np.hstack([whole.matrix[rows][:, columns].toarray(), slacks])


def _choose(was_basic: NDArray[np.bool_], matrix: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose independent candidates, as many as there are rows, shape (candidates,)."""
    chosen = np.zeros(len(_CANDIDATES), bool)
    span = np.zeros((len(matrix), 0))
    for candidate in _preference(dict(zip(_CANDIDATES, was_basic.tolist(), strict=True))):
        column = matrix[:, candidate]
        rest = column - span @ (span.T @ column)
        rest -= span @ (span.T @ rest)
        length = float(np.linalg.norm(rest))
        if length > INDEPENDENT * float(np.linalg.norm(column)):
            span = np.column_stack([span, rest / length])
            chosen[candidate] = True
    return chosen


def _preference(was_basic: dict[str, bool]) -> list[int]:
    """Order the candidates: what was basic, then stocks, then the others, which the solver has to correct."""
    # What is looked at only at the end of a long bin is free within it.
    free = [f"slack of {name}" for name in END_ROWS]
    order = ["out", *free, *(f"slack of {name}" for name in CHANNELS), "in"]
    for k in CLASSES:
        # Where something was owed still, it was not written at once.
        pair = [f"owed {k}", f"out {k}"]
        order += pair if was_basic[pair[0]] else pair[::-1]
    order.append("stall")
    stocks = [name for name in STOCKS if name not in LATE]
    first = [name for name in order if was_basic[name] or name in free or name in stocks]
    rest = [name for name in (*stocks, *order, *LATE) if name not in first]
    return [_CANDIDATES.index(name) for name in (*first, *rest)]
