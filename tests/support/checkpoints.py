"""States that checkpoints may hold, and whether two are the same: bit for bit, type for type."""

from collections import Counter, OrderedDict
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from tmtrain.runtime.checkpoints.checkpoint import Checkpoint


def assert_same(one: Any, other: Any, *, at: str = "") -> None:
    """Compare two trees: types, orders, dtypes, shapes, strides and bits; of what hangs on dicts, too."""
    assert type(one) is type(other), at
    if isinstance(one, torch.Tensor):
        assert (one.dtype, one.shape, one.stride()) == (other.dtype, other.shape, other.stride()), at
        assert bits_of(one) == bits_of(other), at
    elif isinstance(one, dict):
        assert list(one) == list(other), at
        assert [*map(type, one)] == [*map(type, other)], at
        for key in one:
            assert_same(one[key], other[key], at=f"{at}.{key}")
        assert_same(getattr(one, "_metadata", None), getattr(other, "_metadata", None), at=f"{at}._metadata")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), at
        for index, (mine, its_own) in enumerate(zip(one, other, strict=True)):
            assert_same(mine, its_own, at=f"{at}.{index}")
    elif isinstance(one, (np.ndarray, np.generic)):
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes()), at
    else:
        assert repr(one) == repr(other), at  # which tells -0.0 from 0.0 and takes NaN for NaN


def bits_of(tensor: torch.Tensor) -> bytes:
    """Return the bytes of the elements, in order."""
    whole = tensor.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
    return whole.reshape(-1).view(torch.uint8).numpy().tobytes()


def whole_of(checkpoint: Checkpoint) -> Any:
    """Return all that is in it."""
    return checkpoint.restored(checkpoint.tree, hold=lambda tensor, _: tensor)


DTYPES = (
    *(torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.bool, torch.uint8, torch.int8),
    *(torch.int16, torch.int32, torch.int64, torch.uint16, torch.uint32, torch.uint64),
    *(torch.complex64, torch.complex128),
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz),
    *(torch.float8_e8m0fnu, torch.float4_e2m1fn_x2),
)


@st.composite
def tensors(draw: st.DrawFn) -> torch.Tensor:
    """Any bits, in any of a few shapes and layouts: also empty, without dimensions, transposed, sliced, expanded."""
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    size = torch.Size(shape).numel() * dtype.itemsize
    content = draw(st.binary(min_size=size, max_size=size))
    if dtype is torch.bool:
        content = bytes(byte & 1 for byte in content)
    tensor = torch.tensor(bytearray(content), dtype=torch.uint8).view(dtype).reshape(shape)
    how = draw(st.sampled_from(("as it is", "transposed", "sliced", "expanded", "conjugated")))
    if how == "transposed" and tensor.dim() > 1:
        return tensor.transpose(0, 1)
    if how == "sliced" and tensor.dim():
        return tensor[..., ::2]
    if how == "expanded":
        return tensor.unsqueeze(0).expand(3, *shape)
    return tensor.conj() if how == "conjugated" and dtype.is_complex else tensor


_NUMBERS = st.integers() | st.floats() | st.complex_numbers() | st.booleans()
_LEAVES = (
    *(_NUMBERS, st.none(), st.text(), st.binary(max_size=9), st.binary(max_size=9).map(bytearray)),
    *(
        st.sampled_from(
            (torch.bfloat16, torch.device("cpu"), torch.Size((2, 3)), np.float64(0.1), np.int8(-1))
        ),
    ),
    *(st.sampled_from((np.arange(6, dtype=np.uint32).reshape(2, 3), np.zeros((), np.float16), np.ones(0))),),
)
_KEYS = (
    st.integers()
    | st.text(max_size=4)
    | st.sampled_from(("a.b", "a", "b", "0", "", ".", "__metadata__", "#2"))
)


def trees() -> st.SearchStrategy[Any]:
    """Whatever modules and optimizers may put into their state."""
    keys = _KEYS | st.tuples(_KEYS, st.booleans() | st.none() | st.binary(max_size=3))
    return st.recursive(
        st.one_of(tensors(), *_LEAVES),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(keys, inner, max_size=3),
            st.dictionaries(keys, inner, max_size=3).map(OrderedDict),
            st.dictionaries(_KEYS, st.integers(), max_size=3).map(Counter),
            st.frozensets(_KEYS, max_size=1),
        ),
        max_leaves=8,
    )
