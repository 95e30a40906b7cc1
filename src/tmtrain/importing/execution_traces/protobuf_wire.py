"""Protocol buffers on the wire, without a schema: numbered fields in, numbered fields out.

Source: the encoding as documented for Protocol Buffers: a key is ``number << 3 | wire type``; wire type 0 is a base-128
varint, 1 is 8 bytes, 2 is a length and so many bytes, 5 is 4 bytes. Enough for Chakra, and no dependency.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import TypeAlias

VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10

Value: TypeAlias = int | bytes
"""Of a field: a varint as an unsigned integer, anything else as its bytes."""


class WireError(ValueError):
    """The bytes are no such message, or end too early."""


def encode_varint(value: int) -> bytes:
    r"""Return `value`, not negative, as a varint.

    >>> encode_varint(300)
    b'\xac\x02'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, start: int) -> tuple[int, int]:
    r"""Return the varint at `start` and where it ends.

    Raises:
        WireError: it is cut off, or longer than 64 bits.

    >>> decode_varint(b"\xac\x02", 0)
    (300, 2)
    """
    value, end = 0, start
    for shift in range(_MOST_VARINT_BYTES):
        if end >= len(data):
            raise WireError("ends inside a number")
        byte = data[end]
        end += 1
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, end
    raise WireError("has a number of more than 64 bits")


def decode_fields(data: bytes) -> Iterator[tuple[int, int, Value]]:
    """Yield number, wire type and value of each field of a message.

    Raises:
        WireError: the message is malformed or cut off.
    """
    start = 0
    while start < len(data):
        key, start = decode_varint(data, start)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, start = decode_varint(data, start)
            yield number, kind, value
            continue
        if kind == BYTES:
            length, start = decode_varint(data, start)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if kind == EIGHT_BYTES else 4
        else:
            raise WireError(f"has a field of wire type {kind}")
        if start + length > len(data):
            raise WireError(f"ends inside field {number}")
        yield number, kind, data[start : start + length]
        start += length


def varint_field(number: int, value: int) -> bytes:
    """Return a field with a varint; nothing where it is 0, as proto3 has it."""
    return encode_varint(number << 3 | VARINT) + encode_varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Return a field with bytes, a text or a message; nothing where it is empty."""
    return encode_varint(number << 3 | BYTES) + encode_varint(len(value)) + value if value else b""


def double_field(number: int, value: float) -> bytes:
    """Return a field with a double, also where it is 0."""
    return encode_varint(number << 3 | EIGHT_BYTES) + struct.pack("<d", value)


def packed_field(number: int, values: Iterable[int]) -> bytes:
    """Return a field with packed varints."""
    return bytes_field(number, b"".join(map(encode_varint, values)))


def unpack(value: Value) -> Iterator[int]:
    """Yield the varints of a repeated field, packed or not."""
    if isinstance(value, int):
        yield value
        return
    start = 0
    while start < len(value):
        number, start = decode_varint(value, start)
        yield number
