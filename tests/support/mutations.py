"""Damage to files, and numbers that somebody edits in them."""

import random
import re
from collections.abc import Iterator

_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_EDITS = (b"0", b"-1", b"1", b"9", b"2", b"1e308", b"NaN", b"1e999", b"18446744073709551616", b"0.5")


def mutations(content: bytes, *, seed: int, number: int, upto: int | None = None) -> Iterator[bytes]:
    """Yield `content` with one thing changed each time: a bit, a byte, a number in it, or where it ends.

    Args:
        content: Of a file.
        seed: Of what is changed.
        number: How many to yield.
        upto: Change nothing from this byte on: behind it there are no numbers in words.
    """
    dice = random.Random(seed)
    end = len(content) if upto is None else upto
    numbers = list(_NUMBER.finditer(content, 0, end))
    for _ in range(number):
        how = dice.choice(("bit", "byte", "number", "digit", "cut"))
        changed = bytearray(content)
        at = dice.randrange(end)
        if how == "bit":
            changed[at] ^= 1 << dice.randrange(8)
        elif how == "byte":
            changed[at] = dice.randrange(256)
        elif how == "cut":
            del changed[at:]
        elif numbers:
            found = dice.choice(numbers)
            first, behind = found.span()
            if how == "digit":
                changed[dice.randrange(first, behind)] = ord(dice.choice("0123456789"))
            else:
                changed[first:behind] = dice.choice(_EDITS)
        if changed != content:
            yield bytes(changed)
