"""FLOPs and matrix dimensions of matmul, convolution and attention operators.

FLOPs come from torch's own registry (`torch.utils.flop_counter.flop_registry`: 2 m n k per matrix product).
What it lacks is added here from the same formulas: attention on CPU, matrix times vector, dot product. Causal
attention counts as full attention, as torch does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from tmtrain.capturing.internals import packet_of, short_name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorWork:
    """Arithmetic of one operator; the fields mean what they mean in `tmtrain.trace.Operators`."""

    flops: int = 0
    batch: int = 0
    m: int = 0
    n: int = 0
    k: int = 0


NO_WORK = OperatorWork()


def work_of(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> OperatorWork:
    """Return FLOPs and matrix dimensions of one call; zeros for an operator that is no matrix product.

    >>> import torch
    >>> a, b = torch.empty(3, 5), torch.empty(5, 7)
    >>> work_of(torch.ops.aten.mm.default, (a, b), {}, a @ b)
    OperatorWork(flops=210, batch=1, m=3, n=7, k=5)
    """
    short_name = short_name_of(func)
    measure = _ATTENTION if short_name.startswith("_scaled_dot_product_") else _DIMENSIONS.get(short_name)
    count = flop_registry.get(packet_of(func))
    if measure is None:
        return NO_WORK if count is None else OperatorWork(flops=int(count(*args, **kwargs, out_val=out)))
    batch, m, n, k = measure(short_name, args, out)
    if count is not None:
        flops = int(count(*args, **kwargs, out_val=out))
    elif measure is _ATTENTION:
        flops = _attention_flops(short_name, args)
    else:
        flops = 2 * batch * m * n * k
    return OperatorWork(flops=flops, batch=batch, m=m, n=n, k=k)


_Dimensions = tuple[int, int, int, int]
_Measure = Callable[[str, tuple[Any, ...], Any], _Dimensions]


def _product(left: int, right: int) -> _Measure:
    """Measure a product of the arguments at these positions: vectors, matrices or batches of matrices."""

    def measure(_name: str, args: tuple[Any, ...], _out: Any) -> _Dimensions:
        a, b = args[left].shape, args[right].shape
        batch = a[0] if len(a) == 3 else 1
        m = a[-2] if len(a) > 1 else 1
        n = b[-1] if len(b) > 1 else 1
        return batch, m, n, a[-1]

    return measure


def _convolution(name: str, args: tuple[Any, ...], out: Any) -> _Dimensions:
    # Forward: input, weight, bias, stride, padding, dilation, transposed, output_padding, groups.
    # Backward: grad_output, input, weight, bias_sizes, then as forward from stride on.
    if name == "convolution_backward":
        result, source, weight, transposed, groups = args[0], args[1], args[2], args[7], args[9]
    else:
        result, source, weight, transposed, groups = out, args[0], args[1], args[6], args[8]
    kernel = math.prod(weight.shape[2:])
    if transposed:
        positions = source.shape[0] * math.prod(source.shape[2:])
        return groups, positions, weight.shape[1] * kernel, weight.shape[0] // groups
    positions = result.shape[0] * math.prod(result.shape[2:])
    return groups, positions, weight.shape[0] // groups, weight.shape[1] * kernel


def _attention(name: str, args: tuple[Any, ...], _out: Any) -> _Dimensions:
    query, key, _ = _query_key_value(name, args)
    return query[0] * query[1], query[2], key[2], query[3]


def _attention_flops(name: str, args: tuple[Any, ...]) -> int:
    query, key, value = _query_key_value(name, args)
    if "backward" in name:
        return int(sdpa_backward_flop_count(args[0].shape, query, key, value))
    return int(sdpa_flop_count(query, key, value))


def _query_key_value(name: str, args: tuple[Any, ...]) -> Sequence[Sequence[int]]:
    """Shapes (batch, heads, length, dimension); backward takes the gradient of the output before them."""
    first = 1 if "backward" in name else 0
    return [tensor.shape for tensor in args[first : first + 3]]


_ATTENTION: _Measure = _attention
_DIMENSIONS: dict[str, _Measure] = {
    "mm": _product(0, 1),
    "bmm": _product(0, 1),
    "mv": _product(0, 1),
    "dot": _product(0, 1),
    "vdot": _product(0, 1),
    "_scaled_mm": _product(0, 1),
    "addmm": _product(1, 2),
    "addmm_": _product(1, 2),
    "baddbmm": _product(1, 2),
    "baddbmm_": _product(1, 2),
    "addbmm": _product(1, 2),
    "addmv": _product(1, 2),
    "addmv_": _product(1, 2),
    "convolution": _convolution,
    "convolution_backward": _convolution,
}
