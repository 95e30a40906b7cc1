"""Autocast as an accelerator has it: the lists of CUDA in place of the CPU's.

The lists are those of `ATen/autocast_mode.h` (torch 2.13), which the documentation of `torch.amp` names too. Most operators
are cast below the calls that are taken, by the dispatcher: there is where the CPU's casts are replaced. What is taken
casts by itself.
"""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map

from tmtrain.capturing.internals import overload_of, schema_of, without_autocast

_KEY = "AutocastCPU"
_CPU = "cpu"
_FLOATS = (torch.float32, torch.bfloat16, torch.float16)
"""What autocast casts; double precision is left as it is."""

_LOWER = """
addmv addr mv einsum chain_matmul linalg_multi_dot
lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell _thnn_fused_lstm_cell _thnn_fused_gru_cell
"""
_SINGLE = """
acos asin cosh erfinv exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan
pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar softplus
layer_norm native_layer_norm rms_norm group_norm
norm.Scalar norm.ScalarOpt_dim frobenius_norm.dim nuclear_norm nuclear_norm.dim renorm
cosine_similarity dist pdist logsumexp
upsample_nearest1d _upsample_nearest_exact1d upsample_nearest2d _upsample_nearest_exact2d
upsample_nearest3d _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d _upsample_bilinear2d_aa
upsample_trilinear3d upsample_bicubic2d _upsample_bicubic2d_aa
"""
_SINGLE_RESULT = """
softmax.int log_softmax.int sum sum.dim_IntList prod prod.dim_int cumsum cumprod
linalg_vector_norm linalg_matrix_norm linalg_matrix_norm.str_ord
"""
"""These have an argument for the type of their result; one that is given stays."""
_WIDEST = "addcdiv addcmul atan2 bilinear cross dot vdot grid_sampler index_put tensordot scatter_add"
_AS_THEY_ARE = """
reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d replication_pad3d
avg_pool3d max_pool3d adaptive_avg_pool3d max_unpool2d max_unpool3d
"""
"""A CPU runs these in single precision, CUDA does not."""

Cast = Callable[..., tuple[Any, Any]]


@contextmanager
def accelerator_autocast() -> Generator[None]:
    """Let autocast on the CPU cast what CUDA's casts; for the whole process, until it ends."""
    library = torch.library.Library("aten", "IMPL")
    lists = ((_LOWER, _lower), (_SINGLE, _single), (_SINGLE_RESULT, _single_result), (_WIDEST, _widest))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of kernels that take another's place: they mean to
            for names, cast in lists:
                for name in names.split():
                    library.impl(name, _kernel(overload_of(name), cast), _KEY, allow_override=True)
            for name in _AS_THEY_ARE.split():
                library.impl(name, torch.library.fallthrough_kernel, _KEY, allow_override=True)
        yield
    finally:
        library._destroy()  # pyright: ignore[reportPrivateUsage]


def lowered(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the tensors in the lower precision of autocast, as they are without it."""
    if not torch.is_autocast_enabled(_CPU):
        return tensors
    return _cast(tensors, torch.get_autocast_dtype(_CPU))


def raised(*values: Any) -> tuple[Any, ...]:
    """Return tensors among the values in single precision under autocast, all as they are without it."""
    return _cast(values, torch.float32) if torch.is_autocast_enabled(_CPU) else values


def _kernel(operator: OpOverload, cast: Cast) -> Callable[..., Any]:
    def run(*args: Any, **kwargs: Any) -> Any:
        # What an operator is composed of is not cast again.
        with without_autocast():
            args, kwargs = cast(operator, args, kwargs)
            return operator(*args, **kwargs)

    return run


def _lower(_operator: OpOverload, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _cast((args, kwargs), torch.get_autocast_dtype(_CPU))


def _single(_operator: OpOverload, args: Any, kwargs: Any) -> tuple[Any, Any]:
    return _cast((args, kwargs), torch.float32)


def _single_result(operator: OpOverload, args: Any, kwargs: Any) -> tuple[Any, Any]:
    names = [argument.name for argument in schema_of(operator).arguments]
    asked = dict(zip(names, args, strict=False)) | kwargs
    if asked.get("dtype") is None and _is_cast(args[0]):
        asked["dtype"] = torch.float32
    return (), asked


def _widest(_operator: OpOverload, args: Any, kwargs: Any) -> tuple[Any, Any]:
    has_single = any(_is_cast(leaf) and leaf.dtype == torch.float32 for leaf in tree_leaves((args, kwargs)))
    return _cast((args, kwargs), torch.float32 if has_single else torch.get_autocast_dtype(_CPU))


def _cast(values: Any, dtype: torch.dtype) -> Any:
    def cast(value: Any) -> Any:
        return value.to(dtype) if _is_cast(value) else value

    return tree_map(cast, values)


def _is_cast(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype in _FLOATS
