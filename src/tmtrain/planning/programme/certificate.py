"""For which plans the bound holds.

Note [The class]
    The programme (`tmtrain.planning.programme.model`) is a relaxation of every plan that

    1. runs the operators of the step in their order, each when all that it touches is in fast memory, over and over;
    2. moves pages between the tiers in whatever way: whole or split tensors, any eviction, any prefetch, any waiting;
    3. and, where the certificate says that it recomputes, may run producers again, deciding row by row, so that

       a. the recomputations of a block run together at its recompute point, once. `tmtrain.planning.recomputation.blocks`
          says when that is, the cuts between blocks are in the plan file;
       b. they read what is there then: recomputed in the same block and row, kept, or fetched. What crosses a cut is kept
          or moved, and operators that make such contents do not run again;
       c. what has come back for a recomputation, or out of one, stays until the step has used it;
       d. contents that the step itself has no more use for are held for recomputations only if they cross a cut.

    In one phrase (`tmtrain.plans.CLASS`): plans that run the step's operators in their order, move pages, and recompute
    each block at most once.

    So the bound covers all policies without recomputation, and activation checkpointing with blocks no coarser than ours,
    under any placement. It does not cover plans that recompute a storage twice in one gap. Nor does it cover recomputations
    that span a cut or run later than the recompute point, changes of the order of operators, or compression. Between rows
    anything may be mixed. Plans of those kinds can need less, and do: two-level checkpointing, an optimizer stepped inside
    backward (``tests/e2e/planning/test_class.py``).

    The bound follows from multipliers alone, see Note [Weak duality] in `tmtrain.planning.programme.programme`. Nothing
    looks at the plan.
"""

import numpy as np

from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.recomputation.blocks import RecomputeBlocks
from tmtrain.plans.plan import Bound, Certificate, Prediction


def certify(
    bound: Bound,
    prediction: Prediction,
    *,
    objective: Objective,
    blocks: RecomputeBlocks | None = None,
    write_budget_bytes: float | None = None,
) -> Certificate:
    """Put what the planner expects of a plan beside the bound of its class."""
    return Certificate(
        objective=objective.name,
        predicted=objective.predicted(prediction),
        bound=bound,
        cuts=np.zeros(0, np.int64) if blocks is None else blocks.cuts,
        write_budget_bytes=write_budget_bytes,
    )
