"""The fingerprint of the operators of a step: equal so far means the same operators on the same storages so far.

Where the results of an operator depend on values (``x[mask]``), sizes behind it differ from step to step, and so does what is
large enough to move. From there on a step is told by its operators alone.
"""

from typing import NamedTuple

from tmtrain.units import format_bytes

START = 0


class Passage(NamedTuple):
    """One operator of a step, in words that mean the same in each step."""

    name: str
    storages: tuple[str, ...] = ()
    """That it touches and that can move."""
    makes_bytes: int | None = None

    def __str__(self) -> str:
        """Say it in words.

        >>> print(Passage("aten.mm.default", ("weight",), 64))
        aten.mm.default on weight, which makes 64 B
        """
        touched = f" on {', '.join(name or 'something new' for name in self.storages)}" if self.storages else ""
        return f"{self.name}{touched}" + (f", which makes {format_bytes(self.makes_bytes)}" if self.makes_bytes else "")


class PassageReader:
    """Turns the operators of one step into passages."""

    def __init__(self) -> None:
        self._is_vague = False

    def read(self, name: str, storages: tuple[str, ...], makes_bytes: int | None) -> Passage:
        """Return the operator that comes next.

        >>> reader = PassageReader()
        >>> reader.read("aten.mm.default", ("weight",), 64)
        Passage(name='aten.mm.default', storages=('weight',), makes_bytes=64)
        >>> reader.read("aten.nonzero.default", ("mask",), None), reader.read("aten.mul.Tensor", ("x",), 64)
        (Passage(name='aten.nonzero.default', storages=(), makes_bytes=None), Passage(name='aten.mul.Tensor', storages=(), makes_bytes=None))
        """
        if makes_bytes is None:
            self._is_vague = True
        return Passage(name) if self._is_vague else Passage(name, storages, makes_bytes)


def mixed(before: int, passage: Passage) -> int:
    """Return the fingerprint of a step that goes on with one more operator; it means nothing to other processes.

    >>> one = mixed(START, Passage("aten.mm.default", ("weight",), 64))
    >>> one == mixed(START, Passage("aten.mm.default", ("bias",), 64))
    False
    """
    return hash((before, passage))
