"""Solves a model level by level: Note [Levels]."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.highs import TimeLimit
from tmtrain.planning.programme.levels.grid import Grid, make_grids
from tmtrain.planning.programme.levels.refining import refine
from tmtrain.planning.programme.levels.stage import Stage
from tmtrain.planning.programme.levels.whole import Whole
from tmtrain.planning.programme.model import Model
from tmtrain.planning.programme.programme import AS_GOOD, Solution


def climb(
    model: Model,
    *,
    then: NDArray[np.float64] | None = None,
    grids: tuple[Grid, ...] | None = None,
    time_limit_s: float | None = None,
) -> Solution:
    """Solve a model; the multipliers are those of all its rows.

    Args:
        model: The programme with its bins.
        then: Cost of each column: of the solutions that are as good, to within `AS_GOOD`, take one of least such cost.
        grids: The levels, the whole programme last; None: as `make_grids` has them.
        time_limit_s: For all of it.

    Raises:
        InfeasibleError: nothing satisfies the rows.
        TimeLimitError: the time is over.
        SolverError: HiGHS gave up.
    """
    grids = grids or make_grids(len(model.edges) - 1)
    whole, limit = Whole(model), TimeLimit(seconds=time_limit_s)
    stage = Stage(whole, grids[0], slices=[], limit=limit)
    stage.solve()
    for coarse, fine in pairwise(grids):
        before, stage = stage, Stage(whole, fine, slices=stage.late_slices, limit=limit)
        stage.start_from(refine(before.basis, whole, coarse=coarse, fine=fine))
        stage.solve()
    x, y = stage.x, stage.prove()
    programme = model.programme
    paid = float(programme.cost @ x)
    if then is not None:
        stage.settle(then, most=paid + AS_GOOD * max(abs(paid), 1e-9))
        x = stage.x
    return Solution(x=x, y=y, value=programme.constant + paid)
