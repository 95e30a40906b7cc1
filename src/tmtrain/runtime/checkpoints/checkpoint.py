"""A checkpoint: one safetensors file, written and read tensor by tensor, so that memory need not hold what it holds.

The tensors of a tree (`values.py`), as `state_dict()` returns it, are the tensors of the file, under their paths
("optimizer.state.0.exp_avg"), those of the model under its own names; any reader of safetensors opens them. The rest of
the tree and an xxh3 of each tensor are JSON in the file's head (`head.py`), which has a checksum too. Nothing in it is
executable. It is written under a temporary name and renamed, so a half-written one never carries the final name.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
import xxhash

from tmtrain.bundle import replacing
from tmtrain.errors import FileFormatError, InputError
from tmtrain.runtime.checkpoints.forms import TensorForm, form_in_file
from tmtrain.runtime.checkpoints.head import NO_DIGEST, VERSION, AnotherVersion, Head, read_head, written_head
from tmtrain.runtime.checkpoints.values import Packed, Saved, filled, unpacked
from tmtrain.runtime.tier.pages import Span, view

CHUNK_BYTES = 8 << 20
"""Written and hashed at a time."""

Hold = Callable[[torch.Tensor, str], torch.Tensor]
"""Takes a tensor and its name, and keeps it in memory until the next call."""


def write_checkpoint(path: Path, tree: Any, *, fetch: Hold) -> None:
    """Write `tree`, whole or not at all; an older file there is replaced.

    Args:
        path: Of the file.
        tree: Of `tmtrain.runtime.checkpoints.values`.
        fetch: Called with each tensor and its name before it is read; returns it contiguous, in memory until the next call.

    Raises:
        InputError: something in the tree is of another kind, or the disk refuses (full, read-only).
    """
    packed = Packed()
    try:
        plain = packed.take(tree, "")
        forms = {
            name: TensorForm(dtype=tensor.dtype, shape=tuple(tensor.shape))
            for name, tensor in packed.tensors.items()
        }
        digests = dict.fromkeys(forms, NO_DIGEST)
        head = written_head(forms, tree=plain, digests=digests)
    except (RecursionError, ValueError) as error:
        raise InputError(f"the checkpoint {path} cannot be written as JSON: {error}") from error
    try:
        with replacing(path) as staging, staging.open("wb") as file:
            file.write(head)
            for name, tensor in packed.tensors.items():
                digests[name] = _write(file, fetch(tensor, name))
            file.seek(0)
            file.write(written_head(forms, tree=plain, digests=digests))  # as long as before
            file.flush()
            os.fsync(file.fileno())  # an old checkpoint must not give way to one that a power cut empties
    except OSError as error:
        raise InputError(f"cannot write the checkpoint {path}: {error.strerror or error}") from error


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
            self.tree = self._read_tree()
            """With `Saved` in place of tensors."""
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def restored(self, tree: Any, *, hold: Hold) -> Any:
        """Return a part of the tree with its tensors, each read when it is met; one that comes twice is one tensor.

        Args:
            tree: Of this checkpoint.
            hold: Called with a new tensor and its name before it is filled.

        Raises:
            FileFormatError: the file is shorter than it should be, or its content has changed.
        """
        known: dict[str, Any] = {}

        def fill(saved: Saved) -> Any:
            if saved.name not in known:
                known[saved.name] = self._read(saved, hold=hold)
            return known[saved.name]

        return filled(tree, fill=fill)

    def _read(self, saved: Saved, *, hold: Hold) -> Any:
        shape, dtype = saved.form.shape, saved.form.dtype
        if saved.array is not None:
            array = np.empty(shape, saved.array)
            self._fill(torch.from_numpy(array), saved)
            return array
        tensor = torch.empty(shape, dtype=dtype)
        self._fill(hold(tensor, saved.name), saved)
        return _with_stride(tensor, saved.stride)

    def _fill(self, tensor: torch.Tensor, saved: Saved) -> None:
        """Read into the memory of a tensor that is contiguous and there."""
        digest = xxhash.xxh3_64()
        self._file.seek(saved.offset)
        for chunk in _chunks(tensor):
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

    def _read_tree(self) -> Any:
        size = os.fstat(self._file.fileno()).st_size
        try:
            head = read_head(self._file, file_bytes=size)
            tree = unpacked(head.tree, saved=lambda plain: _saved(plain, head))
        except AnotherVersion as error:
            raise FileFormatError(
                f"{self._path} {error}", path=self._path, version=error.version, newest_version=VERSION
            ) from error
        except (ArithmeticError, LookupError, RecursionError, RuntimeError, TypeError, ValueError) as error:
            raise FileFormatError(
                f"{self._path} is no whole tmtrain checkpoint: {error}; take an older one", path=self._path
            ) from error
        if head.version < VERSION:
            warnings.warn(
                f"{self._path} is a checkpoint of version {head.version}, whose head has no checksum: damage to its "
                "tensors would be seen, damage to numbers beside them (a learning rate) would not; save it again",
                stacklevel=2,
            )
        return tree


def _saved(plain: dict[str, Any], head: Head) -> Saved:
    name = plain["tensor"]
    entry, digest = head.entries[name], head.digests[name]
    form = form_in_file(entry.dtype, entry.shape, raw=plain.get("dtype"))
    first, end = entry.data_offsets
    stride = tuple(map(int, plain["stride"]))
    array = None if "array" not in plain else np.dtype(plain["array"])
    fits = form.num_bytes == end - first and len(stride) == len(form.shape)
    if array is not None:
        fits &= array.kind in "biufc" and array.itemsize == form.dtype.itemsize
    if not fits or min(stride, default=0) < 0:
        raise ValueError(f"{name} has other bytes than its shape says")
    return Saved(
        name=name,
        form=form,
        stride=stride,
        array=array,
        offset=head.size_bytes + first,
        digest=digest,
    )


def _with_stride(tensor: torch.Tensor, stride: tuple[int, ...]) -> torch.Tensor:
    """Return the tensor laid out as the one that was saved."""
    # Along a stride of 0 all elements are one: it is laid out once, and seen as often as it was.
    once = tuple(min(size, 1) if step == 0 else size for size, step in zip(tensor.shape, stride, strict=True))
    if tensor.stride() == stride or _overlap(once, stride):
        return tensor
    laid_out = torch.empty_strided(once, stride, dtype=tensor.dtype)
    laid_out.copy_(tensor[tuple(map(slice, once))])
    return laid_out if once == tensor.shape else laid_out.as_strided(tensor.shape, stride)


def _overlap(shape: tuple[int, ...], stride: tuple[int, ...]) -> bool:
    """Whether elements may share memory, as those of sliding windows do: copies have them apart."""
    reach = 0
    for step, size in sorted(zip(stride, shape, strict=True)):
        if size > 1:
            if step <= reach:
                return True
            reach += step * (size - 1)
    return False


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
