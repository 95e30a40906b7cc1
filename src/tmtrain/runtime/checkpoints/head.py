"""The head of a checkpoint: which tensors are in it and where, and a tree of values as JSON, under a checksum.

A safetensors file begins with the length of its head and the head, in JSON. What is ours stands in its metadata. The
checksum comes first there, always at the same place, and covers every byte of the head (with zeros where it stands itself),
so that no number in it can change unnoticed. Files of version 1 have none.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec
import xxhash

from tmtrain.runtime.checkpoints.forms import TensorForm

KIND = "tmtrain checkpoint"
VERSION = 2
"""Version 1 had no checksum of its head and knew fewer kinds of values."""
NO_DIGEST = "0" * 16
_BEGIN = b'{"__metadata__": {"xxh3": "'
_LENGTH = struct.Struct("<Q")
_AT = slice(_LENGTH.size + len(_BEGIN), _LENGTH.size + len(_BEGIN) + len(NO_DIGEST))
"""Where the checksum stands."""


class Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tensor of the file, as safetensors describes it."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]
    """First byte and the one behind the last, counted from the end of the head."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a head says."""

    version: int
    tree: Any
    digests: dict[str, str]
    """Of each tensor, by name: xxh3, in hexadecimal."""
    entries: dict[str, Entry]
    size_bytes: int
    """Of the head itself, its length included: where the tensors begin."""


class AnotherVersion(Exception):  # noqa: N818  (raised and caught in this room)
    """A checkpoint of a version, or a file of a kind, that is not read here."""

    def __init__(self, kind: object, version: object) -> None:
        super().__init__(f"is a {kind} of version {version}: up to version {VERSION} is read, update tmtrain")
        self.version = version if isinstance(version, int) else None


def written_head(tensors: Mapping[str, TensorForm], *, tree: Any, digests: Mapping[str, str]) -> bytes:
    """Return the head of a file with these tensors in their order, in whole words; as long whatever the digests."""
    entries: dict[str, Entry] = {}
    at = 0
    for name, form in tensors.items():
        end = at + form.num_bytes
        entries[name] = Entry(form.name_in_file, form.shape_in_file, (at, end))
        at = end
    about = {"kind": KIND, "version": VERSION, "tree": tree, "xxh3": digests}
    metadata = {"xxh3": NO_DIGEST, "tmtrain": json.dumps(about)}
    text = json.dumps({"__metadata__": metadata, **msgspec.to_builtins(entries)}).encode()
    text += b" " * (-len(text) % _LENGTH.size)
    head = bytearray(_LENGTH.pack(len(text)) + text)
    head[_AT] = _digest_of(head)
    return bytes(head)


def read_head(file: BinaryIO, *, file_bytes: int) -> Head:
    """Read the head of a file of so many bytes.

    Raises:
        AnotherVersion: the file is no checkpoint, or of a newer version.
        ValueError: says what is wrong with it, as the end of a sentence.
    """
    start = file.read(_LENGTH.size)
    length = _LENGTH.unpack(start)[0] if len(start) == _LENGTH.size else file_bytes
    if length > file_bytes - _LENGTH.size:
        raise ValueError("it ends within its head")
    head = start + file.read(length)
    has_digest = head[_LENGTH.size :].startswith(_BEGIN)
    if has_digest and head[_AT] != _digest_of(head):
        raise ValueError("its head is not what was written")
    try:
        raw: dict[str, Any] = msgspec.convert(json.loads(head[_LENGTH.size :]), dict[str, Any])
        metadata: dict[str, str] = msgspec.convert(raw.pop("__metadata__", {}), dict[str, str])
        if "tmtrain" not in metadata:
            raise ValueError("another program wrote it")
        about: dict[str, Any] = msgspec.convert(json.loads(metadata["tmtrain"]), dict[str, Any])
        kind, version = about["kind"], about["version"]
        if kind != KIND or type(version) is not int or not 1 <= version <= VERSION:
            raise AnotherVersion(kind, version)
        if has_digest != (version > 1):
            raise ValueError("its head has no checksum where there must be one")
        entries = msgspec.convert(raw, dict[str, Entry])
        digests = msgspec.convert(about["xxh3"], dict[str, str])
        read = Head(
            version=version, tree=about["tree"], digests=digests, entries=entries, size_bytes=len(head)
        )
    except (KeyError, TypeError, RecursionError, msgspec.ValidationError) as error:
        raise ValueError(f"its head makes no sense ({error})") from error
    _check_places(read, file_bytes=file_bytes)
    return read


def _digest_of(head: bytes | bytearray) -> bytes:
    blank = head[: _AT.start] + NO_DIGEST.encode() + head[_AT.stop :]
    return xxhash.xxh3_64_hexdigest(blank).encode()


def _check_places(head: Head, *, file_bytes: int) -> None:
    """Refuse tensors that overlap, leave holes, or are not all there."""
    at = 0
    for name, entry in sorted(head.entries.items(), key=lambda item: item[1].data_offsets):
        first, end = entry.data_offsets
        if first != at or end < first or min(entry.shape, default=0) < 0:
            raise ValueError(f"{name} is not where it must be in it")
        at = end
    if head.entries.keys() != head.digests.keys():
        raise ValueError("not each of its tensors has a checksum")
    if head.size_bytes + at != file_bytes:
        raise ValueError(f"it has {file_bytes} bytes of {head.size_bytes + at}")
