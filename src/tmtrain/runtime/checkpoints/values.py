"""What a checkpoint may hold, as JSON and back: values come back as they were, of the same types. None can be executed.

What JSON has is itself. Whatever else stands as an object that names its kind, so that a tuple stays a tuple. Tensors and
arrays are taken out and leave their name.
"""

import base64
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.errors import InputError
from tmtrain.runtime.checkpoints.forms import TensorForm, can_be_held

_PLAIN = (bool, int, float, str, type(None))
_MAPPINGS: dict[type, str] = {dict: "dict", OrderedDict: "OrderedDict", Counter: "Counter"}
_SEQUENCES: dict[type, str] = {
    list: "list",
    tuple: "tuple",
    torch.Size: "Size",
    set: "set",
    frozenset: "frozenset",
}
_SPELT: dict[type, tuple[str, Callable[[Any], str]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: ("bytearray", lambda value: base64.b64encode(value).decode()),
    complex: ("complex", repr),
    torch.dtype: ("dtype", lambda value: str(value).removeprefix("torch.")),
    torch.device: ("device", str),
}
"""Kinds that are written as one string."""
_KEYS = (*_PLAIN, *_SPELT)
"""Types of keys, beside tuples of them."""
MODEL = "model"
"""Part of a tree whose tensors have in the file the names that they have in the model, so that any loader knows them."""
METADATA = "_metadata"
"""What `Module.state_dict()` hangs on its result: the version of each module, which decides how it loads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A tensor, or an array, in a checkpoint."""

    name: str
    form: TensorForm
    stride: tuple[int, ...]
    """Of what was saved; the file holds it contiguous."""
    array: np.dtype[Any] | None
    """Of numpy, where it is an array; None: it is a tensor."""
    offset: int
    """In the file."""
    digest: str


@dataclass(slots=True)
class Packed:
    """The tensors of a tree; a tensor that stands in it twice comes once."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    _name_of: dict[Any, str] = field(default_factory=dict)
    """By storage and view of it."""
    _around: set[int] = field(default_factory=set)
    """Containers that are being packed, by identity: one that holds itself has no end."""

    def take(self, value: Any, path: str) -> Any:
        """Return `value` as JSON, with the tensors in it taken out.

        Raises:
            InputError: something is of a kind that a checkpoint does not hold; says where, and what does.
        """
        kind = type(value)
        if kind in _PLAIN:
            return value
        if isinstance(value, torch.Tensor):
            return self._tensor(value, path)
        if kind in _SPELT:
            name, spell = _SPELT[kind]
            return {name: spell(value)}
        if kind is np.ndarray or isinstance(value, (np.number, np.bool_)):
            return self._array(value, path)
        with self._inside(value, path):
            if kind in _MAPPINGS:
                return self._mapping(value, path)
            if kind in _SEQUENCES:
                parts = [self.take(part, f"{path}.{index}") for index, part in enumerate(value)]
                return {_SEQUENCES[kind]: parts}
        raise InputError(
            f"{_shown(path)} is a {kind.__name__}: a checkpoint holds tensors, arrays, numbers, strings, bytes and None, "
            "in dicts, lists, tuples and sets"
        )

    def _mapping(self, value: dict[Any, Any], path: str) -> Any:
        for key in value:
            _check_key(key, path)
        items = [[self.take(key, path), self.take(part, _below(path, key))] for key, part in value.items()]
        packed = {_MAPPINGS[type(value)]: items}
        if hasattr(value, METADATA):
            packed["metadata"] = self.take(getattr(value, METADATA), f"{path}.{METADATA}")
        return packed

    def _tensor(self, tensor: torch.Tensor, path: str) -> Any:
        _check_tensor(tensor, path)
        form = TensorForm(dtype=tensor.dtype, shape=tuple(tensor.shape))
        raw = {} if form.raw is None else {"dtype": form.raw}
        return {"tensor": self._name(tensor, path), "stride": list(tensor.stride())} | raw

    def _array(self, value: Any, path: str) -> Any:
        if not isinstance(value, np.ndarray):
            return {"scalar": [value.dtype.str, value.tobytes().hex()]}
        try:
            tensor = torch.from_numpy(value.copy())
        except (TypeError, ValueError) as error:
            raise InputError(f"{_shown(path)} is an array of {value.dtype}: {_HELD}") from error
        return self._tensor(tensor, path) | {"array": value.dtype.str}

    def _name(self, tensor: torch.Tensor, path: str) -> str:
        key = storage_key(tensor.untyped_storage())
        seen_as = (key, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        seen_as += (tensor.is_conj(), tensor.is_neg())
        known = self._name_of.get(seen_as)
        if known is None:
            known = self._name_of[seen_as] = self._free_name(_shown(path))
            self.tensors[known] = tensor
        return known

    def _free_name(self, wish: str) -> str:
        """Return a name that no other tensor has: paths with dots in their keys may read the same."""
        wish = wish.encode(errors="backslashreplace").decode()  # what no reader of safetensors can spell
        name, number = wish, 1
        while name in self.tensors or name == "__metadata__":
            number += 1
            name = f"{wish}#{number}"
        return name

    @contextmanager
    def _inside(self, value: Any, path: str) -> Generator[None]:
        if id(value) in self._around:
            raise InputError(f"{_shown(path)} holds itself: a checkpoint holds trees")
        self._around.add(id(value))
        try:
            yield
        finally:
            self._around.discard(id(value))


def unpacked(plain: Any, *, saved: Callable[[dict[str, Any]], Saved]) -> Any:
    """Return what `Packed.take` took, with `saved` of each object that stands for a tensor.

    Raises:
        ValueError, KeyError, TypeError: it is not what `Packed.take` writes.
    """
    if not isinstance(plain, dict):
        return plain
    if "tensor" in plain:
        return saved(plain)
    kind: str = next(iter(plain), "")
    if kind in _READ:
        return _READ[kind](plain[kind])

    def inner(part: Any) -> Any:
        return unpacked(part, saved=saved)

    if kind in _SEQUENCE_OF:
        return _SEQUENCE_OF[kind](map(inner, plain[kind]))
    mapping = _MAPPING_OF[kind]({inner(key): inner(part) for key, part in plain[kind]})
    if "metadata" in plain:
        setattr(mapping, METADATA, inner(plain["metadata"]))
    return mapping


def filled(tree: Any, *, fill: Callable[[Saved], Any]) -> Any:
    """Return a tree with what `fill` returns in place of each `Saved`."""
    if isinstance(tree, Saved):
        return fill(tree)
    if type(tree) in _MAPPINGS:
        mapping = type(tree)({key: filled(part, fill=fill) for key, part in tree.items()})
        if hasattr(tree, METADATA):
            setattr(mapping, METADATA, getattr(tree, METADATA))
        return mapping
    if type(tree) in _SEQUENCES:
        return type(tree)(filled(part, fill=fill) for part in tree)
    return tree


_HELD = "a checkpoint holds strided tensors of numbers in the memory of this process"


def _check_tensor(tensor: torch.Tensor, path: str) -> None:
    """Refuse what is more, or less, than a strided piece of memory."""
    kind, name = type(tensor), _shown(path)
    if isinstance(tensor, torch.nn.UninitializedParameter):
        raise InputError(f"{name} has no shape yet: save after the first step")
    if kind not in (torch.Tensor, torch.nn.Parameter):
        raise InputError(f"{name} is a {kind.__name__}, a kind of tensor with rules of its own: {_HELD}")
    if tensor.layout is not torch.strided or tensor.is_nested:
        what = "nested" if tensor.is_nested else str(tensor.layout).removeprefix("torch.")
        raise InputError(f"{name} is {what}: {_HELD}; save its parts, or what to_dense() makes of it")
    if tensor.device.type != "cpu":
        raise InputError(f"{name} is on {tensor.device}: {_HELD}; save what to('cpu') makes of it")
    if not can_be_held(tensor.dtype):
        raise InputError(f"{name} is {tensor.dtype}: {_HELD}; save what dequantize() or view() makes of it")


def _check_key(key: Any, path: str) -> None:
    if type(key) is tuple:
        for part in key:
            _check_key(part, path)
    elif type(key) not in _KEYS:
        raise InputError(
            f"{_shown(path)} has the key {key!r}, a {type(key).__name__}: a checkpoint holds dicts by numbers, strings, "
            "and tuples of them"
        )


def _below(path: str, key: Any) -> str:
    """Return the path of a part; tensors of the model have no word before the names that the model gives them."""
    return "" if not path and key == MODEL else f"{path}.{key}"


def _shown(path: str) -> str:
    return path.removeprefix(".") or "the checkpoint"


def _read_scalar(parts: list[str]) -> Any:
    spelling, content = parts
    return np.frombuffer(bytes.fromhex(content), np.dtype(spelling))[0]


def _read_dtype(name: str) -> torch.dtype:
    dtype = getattr(torch, name)
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"{name} is no dtype")
    return dtype


_MAPPING_OF: dict[str, Any] = {name: kind for kind, name in _MAPPINGS.items()}
_SEQUENCE_OF: dict[str, Any] = {name: kind for kind, name in _SEQUENCES.items()}
_READ: dict[str, Callable[[Any], Any]] = {
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "bytearray": lambda text: bytearray(base64.b64decode(text, validate=True)),
    "complex": complex,
    "dtype": _read_dtype,
    "device": torch.device,
    "scalar": _read_scalar,
}
