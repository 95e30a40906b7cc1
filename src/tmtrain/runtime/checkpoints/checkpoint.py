"""A checkpoint: one safetensors file, written and read tensor by tensor, so that memory need not hold what it holds.

The tensors of a tree of dicts, lists and tuples, as `state_dict()` returns them, are the tensors of the file, under their
paths ("optimizer.state.0.exp_avg"); any reader of safetensors opens them. The tree itself, the numbers and strings in it,
and an xxh3 of each tensor are JSON in the file's metadata. Nothing in it is executable. It is written under a temporary
name and renamed, so a half-written one never carries the final name.
"""

import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import torch
import xxhash

from tmtrain.bundle import replacing
from tmtrain.capturing.internals import storage_key
from tmtrain.errors import FileFormatError, InputError
from tmtrain.runtime.tier.pages import Span, view
from tmtrain.units import format_bytes

KIND = "tmtrain checkpoint"
VERSION = 1
CHUNK_BYTES = 8 << 20
"""Written and hashed at a time."""
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_NO_DIGEST = "0" * 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """A tensor of a checkpoint."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Of the tensor that was saved; the file holds it contiguous."""
    offset: int
    """In the file."""
    num_bytes: int
    digest: str


def write_checkpoint(path: Path, tree: Any, *, fetch: Callable[[torch.Tensor, str], torch.Tensor]) -> None:
    """Write `tree`, whole or not at all; an older file there is replaced.

    Args:
        path: Of the file.
        tree: Tensors, numbers, strings and None, in dicts, lists and tuples.
        fetch: Called with each tensor and its name before it is read; returns it contiguous, in memory until the next call.

    Raises:
        InputError: something in the tree is of another kind, or the disk refuses (full, read-only).
    """
    packed = _Packed()
    plain = packed.take(tree, "")
    digests = dict.fromkeys(packed.tensors, _NO_DIGEST)
    try:
        with replacing(path) as staging, staging.open("wb") as file:
            file.write(packed.header(plain, digests))
            for name, tensor in packed.tensors.items():
                digests[name] = _write(file, fetch(tensor, name))
            file.seek(0)
            file.write(packed.header(plain, digests))  # as long as before
            file.flush()
            os.fsync(file.fileno())  # an old checkpoint must not give way to one that a power cut empties
    except OSError as error:
        raise InputError(f"cannot write the checkpoint {path}: {error.strerror or error}") from error


@dataclass(slots=True)
class _Packed:
    """The tensors of a tree; a tensor that stands in it twice comes once."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    _name_of: dict[Any, str] = field(default_factory=dict)
    """By storage and view of it."""

    def take(self, value: Any, path: str) -> Any:
        """Return `value` as JSON, with the tensors in it taken out."""
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, torch.Tensor):
            return {"tensor": self._name(value, path), "stride": list(value.stride())}
        if isinstance(value, dict):
            _check_keys(value, path)
            return {"dict": [[key, self.take(part, f"{path}.{key}")] for key, part in value.items()]}
        if isinstance(value, (list, tuple)):
            kind = "tuple" if isinstance(value, tuple) else "list"
            return {kind: [self.take(part, f"{path}.{index}") for index, part in enumerate(value)]}
        raise InputError(
            f"{path.lstrip('.') or 'the checkpoint'} is a {type(value).__name__}: a checkpoint holds tensors, numbers, "
            "strings and None, in dicts, lists and tuples"
        )

    def _name(self, tensor: torch.Tensor, path: str) -> str:
        name = path.lstrip(".") or "tensor"
        if tensor.dtype not in _NAMES or tensor.layout is not torch.strided:
            raise InputError(f"{name} is {tensor.dtype}, {tensor.layout}: a checkpoint cannot hold that")
        key = storage_key(tensor.untyped_storage())
        seen_as = (key, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        first_name = self._name_of.setdefault(seen_as, name)
        self.tensors.setdefault(first_name, tensor)
        return first_name

    def header(self, plain: Any, digests: dict[str, str]) -> bytes:
        """Return the head of the file: the length of the JSON, and the JSON, in whole words."""
        entries: dict[str, Any] = {}
        at = 0
        for name, tensor in self.tensors.items():
            end = at + tensor.numel() * tensor.element_size()
            entries[name] = {
                "dtype": _NAMES[tensor.dtype],
                "shape": list(tensor.shape),
                "data_offsets": [at, end],
            }
            at = end
        about = {"kind": KIND, "version": VERSION, "tree": plain, "xxh3": digests}
        text = json.dumps({"__metadata__": {"tmtrain": json.dumps(about)}, **entries}).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text


def _check_keys(value: dict[Any, Any], path: str) -> None:
    for key in value:
        if isinstance(key, bool) or not isinstance(key, (int, str)):
            raise InputError(
                f"{path.lstrip('.')} has the key {key!r}: a checkpoint holds dicts by numbers and strings"
            )


class Checkpoint:
    """An open checkpoint: what is in it, and its tensors one by one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise FileFormatError(
                f"cannot read the checkpoint {path}: {error.strerror or error}", path=path
            ) from error
        try:
            self.tree = self._read_head()
            """With `Saved` in place of tensors."""
        except (ValueError, KeyError, TypeError, struct.error) as error:
            self._file.close()
            raise FileFormatError(f"{path} is no whole tmtrain checkpoint: {error}", path=path) from error
        except FileFormatError:
            self._file.close()
            raise

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, saved: Saved, *, into: torch.Tensor) -> None:
        """Read a tensor into the memory of `into`, which is contiguous and there.

        Raises:
            FileFormatError: the file is shorter than it should be, or its content has changed.
        """
        digest = xxhash.xxh3_64()
        self._file.seek(saved.offset)
        for chunk in _chunks(into):
            if self._file.readinto(chunk) != len(chunk):
                raise FileFormatError(
                    f"{self._path} ends within {saved.name}: it is not whole",
                    path=self._path,
                    field=saved.name,
                )
            digest.update(chunk)
        if digest.hexdigest() != saved.digest:
            raise FileFormatError(
                f"{self._path}: {saved.name} is not what was written: the file was damaged, take an older one",
                path=self._path,
                field=saved.name,
            )

    def _read_head(self) -> Any:
        (length,) = struct.unpack("<Q", self._file.read(8))
        size = os.fstat(self._file.fileno()).st_size
        if length > size:
            raise FileFormatError(f"{self._path} is no safetensors file", path=self._path)
        entries = json.loads(self._file.read(length))
        about = json.loads(entries.pop("__metadata__")["tmtrain"])
        if (about["kind"], about["version"]) != (KIND, VERSION):
            raise FileFormatError(
                f"{self._path} is a {about['kind']} of version {about['version']}: version {VERSION} is needed",
                path=self._path,
                version=about["version"],
                newest_version=VERSION,
            )
        ends = max([entry["data_offsets"][1] for entry in entries.values()], default=0) + 8 + length
        if ends != size:
            raise FileFormatError(
                f"{self._path} has {format_bytes(size)} of {format_bytes(ends)}: it is not whole",
                path=self._path,
            )
        return self._unpacked(about["tree"], entries, about["xxh3"], start=8 + length)

    def _unpacked(self, value: Any, entries: dict[str, Any], digests: dict[str, str], *, start: int) -> Any:
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            name = value["tensor"]
            first, end = entries[name]["data_offsets"]
            return Saved(
                name=name,
                dtype=_DTYPES[entries[name]["dtype"]],
                shape=tuple(entries[name]["shape"]),
                stride=tuple(value["stride"]),
                offset=start + first,
                num_bytes=end - first,
                digest=digests[name],
            )

        def inner(part: Any) -> Any:
            return self._unpacked(part, entries, digests, start=start)

        if "dict" in value:
            return {key: inner(part) for key, part in value["dict"]}
        return tuple(map(inner, value["tuple"])) if "tuple" in value else list(map(inner, value["list"]))


def restored(checkpoint: Checkpoint, tree: Any, *, hold: Callable[[torch.Tensor, str], torch.Tensor]) -> Any:
    """Return a part of a checkpoint's tree with its tensors, each read when it is met; one that comes twice is one tensor.

    Args:
        checkpoint: Open.
        tree: Of it.
        hold: Called with a new tensor and its name before it is filled; keeps it in memory until the next call.
    """
    tensors: dict[str, torch.Tensor] = {}

    def inner(value: Any) -> Any:
        if isinstance(value, Saved):
            if value.name not in tensors:
                tensors[value.name] = _filled(checkpoint, value, hold=hold)
            return tensors[value.name]
        if isinstance(value, dict):
            return {key: inner(part) for key, part in value.items()}
        return type(value)(map(inner, value)) if isinstance(value, (list, tuple)) else value

    return inner(tree)


def _filled(
    checkpoint: Checkpoint, saved: Saved, *, hold: Callable[[torch.Tensor, str], torch.Tensor]
) -> torch.Tensor:
    tensor = torch.empty(saved.shape, dtype=saved.dtype)
    checkpoint.read(saved, into=hold(tensor, saved.name))
    if tensor.stride() == saved.stride:
        return tensor
    return torch.empty_strided(saved.shape, saved.stride, dtype=saved.dtype).copy_(tensor)


def _write(file: BinaryIO, tensor: torch.Tensor) -> str:
    digest = xxhash.xxh3_64()
    for chunk in _chunks(tensor):
        file.write(chunk)
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(tensor: torch.Tensor) -> Iterator[memoryview]:
    """Yield the memory of a contiguous tensor."""
    size = tensor.numel() * tensor.element_size()
    if size:
        whole = view(Span(tensor.data_ptr(), size))
        for at in range(0, size, CHUNK_BYTES):
            yield whole[at : at + CHUNK_BYTES]
