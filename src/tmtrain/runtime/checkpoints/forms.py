"""Types of elements: what safetensors calls them, and how those are held for which it has no name."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

_NAMED = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U64": torch.uint64,
    "U32": torch.uint32,
    "U16": torch.uint16,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "C64": torch.complex64,
}
_RAW = (torch.complex32, torch.complex128, torch.float8_e8m0fnu, torch.float4_e2m1fn_x2)
"""Held as bytes, of which one more dimension counts those of an element."""
_NAMES = {dtype: name for name, dtype in _NAMED.items()}
_RAW_OF = {str(dtype).removeprefix("torch."): dtype for dtype in _RAW}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorForm:
    """What a tensor of a checkpoint is made of."""

    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def num_bytes(self) -> int:
        """Of all of them."""
        return self.dtype.itemsize * torch.Size(self.shape).numel()

    @property
    def raw(self) -> str | None:
        """What safetensors has no name for, by torch's name."""
        return None if self.dtype in _NAMES else str(self.dtype).removeprefix("torch.")

    @property
    def name_in_file(self) -> str:
        """What safetensors calls them."""
        return _NAMES.get(self.dtype, "U8")

    @property
    def shape_in_file(self) -> tuple[int, ...]:
        """As safetensors sees it."""
        return self.shape if self.raw is None else (*self.shape, self.dtype.itemsize)


def can_be_held(dtype: torch.dtype) -> bool:
    """Whether a checkpoint holds tensors of this type.

    >>> can_be_held(torch.complex128), can_be_held(torch.quint8)
    (True, False)
    """
    return dtype in _NAMES or dtype in _RAW


def form_in_file(name: str, shape: Sequence[int], *, raw: str | None = None) -> TensorForm:
    """Return what a file means by this type, this shape and, for `raw` ones, this name of torch's.

    Raises:
        ValueError: there is no such type, or it is not held like that.

    >>> form_in_file("U8", (3, 16), raw="complex128").shape
    (3,)
    """
    if raw is None:
        if name not in _NAMED:
            raise ValueError(f"{name} is no type of elements")
        return TensorForm(dtype=_NAMED[name], shape=tuple(shape))
    dtype = _RAW_OF.get(raw)
    if dtype is None or name != "U8" or not shape or shape[-1] != dtype.itemsize:
        raise ValueError(f"{raw} is not held as {name} of the shape {tuple(shape)}")
    return TensorForm(dtype=dtype, shape=tuple(shape[:-1]))
