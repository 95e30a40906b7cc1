"""The formulas by the operator's name, and which operators need none."""

from collections.abc import Mapping
from functools import cache
from importlib import resources

from tmtrain.counting.attention import ATTENTION
from tmtrain.counting.call import OperatorCall
from tmtrain.counting.contractions import CONTRACTIONS
from tmtrain.counting.convolutions import CONVOLUTIONS
from tmtrain.counting.factorisations import FACTORISATIONS
from tmtrain.counting.formula import Formula
from tmtrain.counting.products import PRODUCTS
from tmtrain.counting.recurrent import RECURRENT
from tmtrain.counting.work import NO_WORK, OperatorWork

FORMULAS: Mapping[str, Formula] = {
    **PRODUCTS,
    **CONVOLUTIONS,
    **ATTENTION,
    **RECURRENT,
    **FACTORISATIONS,
    **CONTRACTIONS,
}
"""By name without namespace, overload, and the underscore of an operator in place."""


def has_formula(name: str) -> bool:
    """Whether the work of the operator `name`, without namespace and overload, can be counted.

    >>> has_formula("addmm_"), has_formula("relu")
    (True, False)
    """
    return name.removesuffix("_") in FORMULAS


def count_work(call: OperatorCall) -> OperatorWork:
    """Return the work of a call; `NO_WORK` where there is no formula, or the call is not of the formula's form.

    >>> count_work(OperatorCall(name="addmm", arguments=[(7,), (3, 5), (5, 7)], results=[(3, 7)]))
    OperatorWork(flops=210, batch=1, m=3, n=7, k=5)
    """
    formula = FORMULAS.get(call.name.removesuffix("_"))
    if formula is None:
        return NO_WORK
    try:
        return formula(call)
    except (LookupError, TypeError, ValueError, ZeroDivisionError):  # something else with that name
        return NO_WORK


def is_free(name: str) -> bool:
    """Whether the operator with this qualified name does a few operations for each element that it touches, and no more.

    ``free_ops.txt`` lists those of torch 2.13: copies, indices, reductions, norms, pooling, losses, random numbers,
    steps of optimizers; and those of our own that capture puts in their place. Those of other libraries are unknown.

    >>> is_free("aten.native_layer_norm.default"), is_free("aten.linalg_matrix_exp.default"), is_free("mine.scan.default")
    (True, False, False)
    """
    space, _, rest = name.partition(".")
    if space == "comm":  # bytes between ranks, as importers call them
        return True
    base = rest.partition(".")[0].removesuffix("_")
    return space in ("aten", "tmtrain") and (
        base in _free() or (base.startswith("_foreach_") and not has_formula(base))
    )


@cache
def _free() -> frozenset[str]:
    file = resources.files("tmtrain.counting") / "free_ops.txt"
    return frozenset(file.read_text(encoding="utf-8").split())
