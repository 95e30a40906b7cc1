"""Files of Chakra execution traces (MLCommons): nodes in, nodes out.

Source: schema/protobuf/et_def.proto of github.com/mlcommons/chakra; the numbers below are its field numbers. A file is one
GlobalMetadata and then the nodes, each message with its length before it as a varint; it may be gzipped.
"""

import gzip
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TypeAlias, cast

from tmtrain.bundle import write_bytes_atomically
from tmtrain.errors import FileFormatError, InputError
from tmtrain.importing.execution_traces.protobuf_wire import (
    Value,
    WireError,
    bytes_field,
    decode_fields,
    decode_varint,
    double_field,
    encode_varint,
    packed_field,
    unpack,
    varint_field,
)

SCHEMA_VERSION = "0.0.4"
"""That we write."""
Attribute: TypeAlias = bool | int | float | str
_UNSIGNED = frozenset({"tensor_size"})
"""Attributes that readers look for in `uint64_val`; other whole numbers go into `int64_val`."""
_DOUBLE, _FLOAT, _INT32, _INT64, _UINT32, _UINT64, _SINT32, _SINT64 = 3, 5, 7, 9, 11, 13, 15, 17
_FIXED, _BOOL, _STRING = {19: "<I", 21: "<Q", 23: "<i", 25: "<q"}, 27, 29


class NodeType(IntEnum):
    """What a node is."""

    INVALID = 0
    METADATA = 1
    MEM_LOAD = 2
    MEM_STORE = 3
    COMP = 4
    COMM_SEND = 5
    COMM_RECV = 6
    COMM_COLL = 7
    STORAGE = 8
    BATCH = 9
    CHECKPOINT = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class IoInfo:
    """Arguments or results of a node, each of the three a text (JSON, or a Python literal)."""

    values: str = ""
    shapes: str = ""
    types: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraNode:
    """One node."""

    id: int
    name: str
    type: NodeType
    ctrl_deps: tuple[int, ...] = ()
    data_deps: tuple[int, ...] = ()
    duration_micros: int = 0
    inputs: IoInfo = IoInfo()
    outputs: IoInfo = IoInfo()
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])
    """Lists and raw bytes are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraFile:
    """A whole file."""

    version: str
    attributes: dict[str, Attribute]
    nodes: tuple[ChakraNode, ...]


def write_chakra(path: Path, nodes: Iterable[ChakraNode], *, attributes: dict[str, Attribute]) -> None:
    """Write a file whole or not at all; gzipped if `path` ends in ".gz".

    Raises:
        InputError: the disk refuses.
    """
    metadata = bytes_field(1, SCHEMA_VERSION.encode()) + _attribute_fields(2, attributes)
    messages = [metadata, *map(_encode_node, nodes)]
    data = b"".join(encode_varint(len(message)) + message for message in messages)
    write_bytes_atomically(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_chakra(path: Path) -> ChakraFile:
    """Read a file.

    Raises:
        InputError: there is no such file.
        FileFormatError: it is no Chakra trace, or truncated; says in which message.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (OSError, EOFError) as error:
        raise FileFormatError(f"{path}: cannot be read, or truncated: {error}", path=path) from error
    version, attributes, nodes = "", dict[str, Attribute](), list[ChakraNode]()
    for number, message in enumerate(_messages(data, path)):
        try:
            if number == 0:
                version, attributes = _decode_metadata(message)
            else:
                nodes.append(_decode_node(message))
        except (ValueError, AttributeError, TypeError, struct.error) as error:
            raise FileFormatError(
                f"{path}, message {number}: no message of a Chakra trace: {error}", path=path, row=number
            ) from error
    return ChakraFile(version=version, attributes=attributes, nodes=tuple(nodes))


def _messages(data: bytes, path: Path) -> Iterator[bytes]:
    start, number = 0, 0
    while start < len(data):
        try:
            length, start = decode_varint(data, start)
        except WireError as error:
            raise FileFormatError(
                f"{path}, message {number}: the file {error}", path=path, row=number
            ) from error
        if start + length > len(data):
            raise FileFormatError(
                f"{path}, message {number}: {length} B are announced, {len(data) - start} B are there; "
                "was the file cut off?",
                path=path,
                row=number,
            )
        yield data[start : start + length]
        start, number = start + length, number + 1


def _encode_node(node: ChakraNode) -> bytes:
    fields = (
        varint_field(1, node.id),
        bytes_field(2, node.name.encode()),
        varint_field(3, node.type),
        packed_field(4, node.ctrl_deps),
        packed_field(5, node.data_deps),
        varint_field(7, node.duration_micros),
        bytes_field(8, _encode_io(node.inputs)),
        bytes_field(9, _encode_io(node.outputs)),
        _attribute_fields(10, node.attributes),
    )
    return b"".join(fields)


def _encode_io(io: IoInfo) -> bytes:
    texts = enumerate((io.values, io.shapes, io.types), start=1)
    return b"".join(bytes_field(number, text.encode()) for number, text in texts)


def _attribute_fields(number: int, attributes: dict[str, Attribute]) -> bytes:
    return b"".join(bytes_field(number, _encode_attribute(*item)) for item in attributes.items())


def _encode_attribute(name: str, value: Attribute) -> bytes:
    head = bytes_field(1, name.encode())
    if isinstance(value, bool):  # inside a oneof, a false is written too
        return head + encode_varint(_BOOL << 3) + encode_varint(int(value))
    if isinstance(value, int):
        number = _UINT64 if name in _UNSIGNED else _INT64
        return head + encode_varint(number << 3) + encode_varint(value)
    if isinstance(value, float):
        return head + double_field(_DOUBLE, value)
    text = value.encode()
    return head + encode_varint(_STRING << 3 | 2) + encode_varint(len(text)) + text


def _decode_metadata(message: bytes) -> tuple[str, dict[str, Attribute]]:
    version, attributes = "", dict[str, Attribute]()
    for number, _, value in decode_fields(message):
        if number == 1:
            version = _text(value)
        elif number == 2:
            attributes |= _decode_attribute(value)
    return version, attributes


def _decode_node(message: bytes) -> ChakraNode:
    parts: dict[int, list[Value]] = {}
    for number, _, value in decode_fields(message):
        parts.setdefault(number, []).append(value)
    attributes: dict[str, Attribute] = {}
    for value in parts.get(10, []):
        attributes |= _decode_attribute(value)
    return ChakraNode(
        id=_number(parts, 1),
        name=_text(parts.get(2, [b""])[-1]),
        type=NodeType(_number(parts, 3)),
        ctrl_deps=tuple(dep for value in parts.get(4, []) for dep in unpack(value)),
        data_deps=tuple(dep for value in parts.get(5, []) for dep in unpack(value)),
        duration_micros=_number(parts, 7),
        inputs=_decode_io(parts.get(8, [b""])[-1]),
        outputs=_decode_io(parts.get(9, [b""])[-1]),
        attributes=attributes,
    )


def _number(parts: dict[int, list[Value]], number: int) -> int:
    value = parts.get(number, [0])[-1]
    if not isinstance(value, int):
        raise WireError(f"field {number} is no whole number")
    return value


def _text(value: Value) -> str:
    if not isinstance(value, bytes):
        raise WireError("a text is a number")
    return value.decode()


def _decode_io(value: Value) -> IoInfo:
    texts = {number: _text(part) for number, _, part in decode_fields(cast(bytes, value))}
    return IoInfo(values=texts.get(1, ""), shapes=texts.get(2, ""), types=texts.get(3, ""))


def _decode_attribute(message: Value) -> dict[str, Attribute]:
    name, attribute = "", None
    for number, _, value in decode_fields(cast(bytes, message)):
        if number == 1:
            name = _text(value)
        else:
            decoded = _decode_value(number, value)
            # Of a oneof that was written twice the last counts; lists and raw bytes decode to None.
            attribute = attribute if decoded is None else decoded
    return {} if attribute is None else {name: attribute}


def _decode_value(number: int, value: Value) -> Attribute | None:
    if isinstance(value, int):
        if number in (_INT32, _INT64):
            return value - (1 << 64) if value >> 63 else value
        if number in (_SINT32, _SINT64):
            return (value >> 1) ^ -(value & 1)
        return bool(value) if number == _BOOL else value
    if number == _DOUBLE:
        return float(struct.unpack("<d", value)[0])
    if number == _FLOAT:
        return float(struct.unpack("<f", value)[0])
    if number in _FIXED:
        return int(struct.unpack(_FIXED[number], value)[0])
    return value.decode() if number == _STRING else None
