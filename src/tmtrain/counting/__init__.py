"""FLOPs and matrix dimensions of operators from shapes, for those who capture a step and those who read one."""

from tmtrain.counting.call import OperatorCall
from tmtrain.counting.formulas import count_work, has_formula, is_free
from tmtrain.counting.uncounted import uncounted_operators
from tmtrain.counting.work import NO_WORK, OperatorWork, product_work

__all__ = [
    "NO_WORK",
    "OperatorCall",
    "OperatorWork",
    "count_work",
    "has_formula",
    "is_free",
    "product_work",
    "uncounted_operators",
]
