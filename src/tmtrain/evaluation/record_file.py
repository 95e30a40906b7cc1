"""``results.json`` and its like: a record as JSON with a digest of what it says, so that no change of it goes unnoticed."""

from pathlib import Path
from typing import Any

import msgspec

from tmtrain.bundle import sealed, write_bytes_atomically


def write_record(path: Path, record: object) -> None:
    """Write a record of dataclasses, whole or not at all.

    Raises:
        InputError: the disk refuses.
    """
    # As it will be read: JSON has no NaN, and no tuples.
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    write_bytes_atomically(path, msgspec.json.format(msgspec.json.encode(sealed(said)), indent=1) + b"\n")
