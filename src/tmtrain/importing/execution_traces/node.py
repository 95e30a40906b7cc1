"""One operator of an execution trace, whichever file it came from."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tmtrain.errors import FileFormatError
from tmtrain.importing.execution_traces.aten import OpSchema, split_list
from tmtrain.importing.execution_traces.communication import Communication
from tmtrain.trace.rows import span_elements

_SCALARS = {
    "double": (8, "float64"),
    "float": (4, "float32"),
    "c10::half": (2, "float16"),
    "c10::bfloat16": (2, "bfloat16"),
    "c10::complex<float>": (8, "c10::complex<float>"),
    "long": (8, "int64"),
    "long int": (8, "int64"),
    "int64": (8, "int64"),
    "int": (4, "int32"),
    "short": (2, "int16"),
    "bool": (1, "bool"),
    "unsigned char": (1, "uint8"),
    "signed char": (1, "int8"),
    "char": (1, "int8"),
}
"""Bytes and our name of each element type, as C++ spells it."""
_LIST = re.compile(r"^(?:GenericList|Tuple)\[(?P<kinds>.*)\]$")
_IDENTITY_CELLS = 6
_MOST_ITEMSIZE = 16
_MOST_BYTES = 1 << 60


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorUse:
    """One tensor among the arguments or results of an operator."""

    position: int
    """Of the argument, or of the result."""
    item: int
    """Inside a list, counted through the lists in it, else 0."""
    storage: int
    """The observer's number of the memory, which other memory gets once the first is freed."""
    offset_bytes: int
    itemsize: int
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def span_bytes(self) -> int:
        """From the first to the last byte."""
        return span_elements(self.shape, self.stride) * self.itemsize


@dataclass(frozen=True, slots=True, kw_only=True)
class EtNode:
    """One operator."""

    id: int
    """In order of the calls."""
    name: str
    phase: int
    """A `tmtrain.trace.Phase`."""
    schema: OpSchema | None
    """None: arguments are read, results are written, nothing else is known."""
    arguments: tuple[TensorUse, ...]
    results: tuple[TensorUse, ...]
    duration_s: float | None
    flops: int = 0
    values: tuple[Any, ...] = ()
    """Of each argument that is no tensor; None for a tensor, [] for a list of tensors."""
    is_compiled: bool = False
    """A kernel without schema that writes its results into arguments."""
    communication: Communication | None = None
    """With other ranks."""


def bytes_of(uses: Iterable[TensorUse]) -> int:
    """Return the bytes of some tensors together."""
    return sum(use.span_bytes for use in uses)


def tensor_uses(
    values: list[Any], *, shapes: list[Any], types: list[Any], strides: list[Any] | None, where: str
) -> Iterator[TensorUse]:
    """Yield the tensors among the arguments or results that an observer wrote down.

    Args:
        values: Of each argument; a tensor is [tensor id, storage id, offset, elements, bytes of one, device].
        shapes: Of each argument.
        types: Of each argument: "Tensor(float)", "GenericList[Tensor(float),Tensor(float)]", "Int".
        strides: Of each argument, in elements; None, or too short, where the observer did not write them: taken as
            contiguous.
        where: For messages.

    Raises:
        FileFormatError: a tensor without shape, or one that is no tensor.
    """
    if not len(values) == len(shapes) == len(types):
        raise FileFormatError(
            f"{where}: {len(values)} values, {len(shapes)} shapes and {len(types)} types: needs one of each"
        )
    for position, kind in enumerate(types):
        try:
            leaves = _leaves(values[position], kind, shapes[position], _at(strides, position))
            for item, (value, inner, shape, stride) in enumerate(leaves):
                if inner.startswith("Tensor(") and not _is_undefined(value):
                    yield _use(value, inner, shape, stride, position, item, where)
        except (AttributeError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise FileFormatError(f"{where}, argument {position} of type {kind!r}: {error}") from error


def plain_values(values: list[Any], types: list[Any]) -> tuple[Any, ...]:
    """Return the values of the arguments that are no tensors, as `EtNode.values` has them.

    >>> plain_values([[7, 1, 0, 4, 4, "cpu"], [True, False]], ["Tensor(float)", "GenericList[Bool,Bool]"])
    (None, [True, False])
    """
    return tuple(_plain(value, f"{kind}") for value, kind in zip(values, types, strict=False))


def _plain(value: Any, kind: str) -> Any:
    if kind.startswith("Tensor("):
        return None
    return [] if "Tensor(" in kind else value


def _leaves(value: Any, kind: str, shape: Any, stride: Any) -> Iterator[tuple[Any, str, Any, Any]]:
    """Yield value, type, shape and stride of all that is no list, through however many lists it is in."""
    inside = _LIST.match(kind)
    if inside is None:
        yield value, kind, shape, stride
        return
    for item, inner in enumerate(split_list(inside["kinds"]) if inside["kinds"] else ()):
        yield from _leaves(value[item], inner, _at(shape, item), _at(stride, item))


def _at(rows: Any, index: int) -> Any:
    """Return the row `index`, None where the observer wrote fewer."""
    return rows[index] if isinstance(rows, list) and index < len(rows) else None


def _is_undefined(value: Any) -> bool:
    """Whether an optional tensor was left out: it has neither storage nor device."""
    return isinstance(value, list) and len(value) >= _IDENTITY_CELLS and value[1] == 0 and value[5] == ""


def _use(value: Any, kind: str, shape: Any, stride: Any, position: int, item: int, where: str) -> TensorUse:
    if not isinstance(value, list) or len(value) < _IDENTITY_CELLS or not isinstance(shape, list):
        raise FileFormatError(
            f"{where}, argument {position}: {value!r} of shape {shape!r} needs to be a tensor: [tensor id, storage id, "
            "offset, elements, bytes of one, device], and its shape"
        )
    sizes = tuple(int(size) for size in shape)
    scalar = kind.removeprefix("Tensor(").removesuffix(")").lower()
    usual_itemsize, dtype = _SCALARS.get(scalar, (0, scalar))
    itemsize = int(value[4]) or usual_itemsize
    if not 0 < itemsize <= _MOST_ITEMSIZE or any(size < 0 for size in sizes):
        raise FileFormatError(f"{where}, argument {position}: {value!r} of shape {shape!r} has no size")
    steps = tuple(int(step) for step in stride) if stride and len(stride) == len(sizes) else _dense(sizes)
    use = TensorUse(
        position=position,
        item=item,
        storage=int(value[1]),
        offset_bytes=int(value[2]) * itemsize,
        itemsize=itemsize,
        dtype=dtype,
        shape=sizes,
        stride=steps,
    )
    if use.offset_bytes < 0 or min(steps, default=0) < 0 or use.offset_bytes + use.span_bytes > _MOST_BYTES:
        raise FileFormatError(f"{where}, argument {position}: {value!r} of shape {shape!r} lies in no memory")
    return use


def _dense(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return tuple(reversed(strides))
