"""Units at the edge of a machine file: "GB/s", "pJ/bit", "us", "USD/GB" to SI and back.

A unit is one symbol ("us") or one over another ("pJ/bit"). Its *kind* is what it counts ("J/B"), its *scale*
how much of the SI unit it is (1 pJ/bit = 8e-12 J/B). GB is 10^9 and GiB 2^30 bytes; symbols are
case-sensitive, as in the SI.
"""

from dataclasses import dataclass

_DECIMAL = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40}
_SMALL = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3}

# Symbol: kind, scale, and the prefixes that make sense with it (no millibytes, no kiloseconds).
_BASES: dict[str, tuple[str, float, dict[str, float]]] = {
    "": ("", 1.0, {}),
    "B": ("B", 1.0, _DECIMAL | _BINARY),
    "bit": ("B", 0.125, _DECIMAL | _BINARY),
    "s": ("s", 1.0, _SMALL),
    "Hz": ("Hz", 1.0, _DECIMAL),
    "J": ("J", 1.0, _SMALL),
    "W": ("W", 1.0, _SMALL | {"k": 1e3}),
    "op": ("op", 1.0, _DECIMAL),
    "flop": ("flop", 1.0, _DECIMAL),
    "FLOP": ("flop", 1.0, _DECIMAL),
    "USD": ("USD", 1.0, {}),
    "cycles": ("cycles", 1.0, {}),
    "pages": ("pages", 1.0, {}),
}
_SYMBOLS = {
    prefix + base: (kind, scale * factor)
    for base, (kind, scale, prefixes) in _BASES.items()
    for prefix, factor in {"": 1.0, **prefixes}.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """What a number of a machine measures."""

    name: str
    """In words, e.g. "data rate"."""
    kind: str
    """SI unit, e.g. "B/s"; "" for a pure number."""
    example: str
    """A unit that people use for it, e.g. "GB/s"."""

    def scale_of(self, unit: str) -> float | None:
        """Return how many SI units one `unit` is, or None if `unit` does not measure this.

        >>> dimension_of("read_energy_j_per_byte").scale_of("pJ/bit")
        8e-12
        >>> dimension_of("read_energy_j_per_byte").scale_of("GB/s") is None
        True
        """
        parts = [_SYMBOLS.get(symbol) for symbol in unit.split("/")]
        known = [part for part in parts if part is not None]
        if len(known) != len(parts) or len(known) > 2:
            return None
        if "/".join(kind for kind, _ in known) != self.kind:
            return None
        return known[0][1] / (known[1][1] if len(known) == 2 else 1.0)


_NUMBER = Dimension(name="pure number", kind="", example="no unit")
# End of the attribute's name: dimension; the first that fits counts, so the longer ones come first.
_BY_SUFFIX = {
    "_bytes_per_s": Dimension(name="data rate", kind="B/s", example="GB/s"),
    "_j_per_byte": Dimension(name="energy per datum", kind="J/B", example="pJ/bit"),
    "_w_per_byte": Dimension(name="power per capacity", kind="W/B", example="W/GB"),
    "_usd_per_byte": Dimension(name="price per capacity", kind="USD/B", example="USD/GB"),
    "_j_per_flop": Dimension(name="energy per floating-point operation", kind="J/flop", example="pJ/flop"),
    "_j_per_op": Dimension(name="energy per operation", kind="J/op", example="pJ/op"),
    "_per_s": Dimension(name="operation rate", kind="op/s", example="Top/s"),
    "_bytes": Dimension(name="size", kind="B", example="GiB"),
    "_cycles": Dimension(name="number of program/erase cycles", kind="cycles", example="cycles"),
    "_pages": Dimension(name="number of pages", kind="pages", example="pages"),
    "_hz": Dimension(name="frequency", kind="Hz", example="GHz"),
    "_w": Dimension(name="power", kind="W", example="W"),
    "_s": Dimension(name="time", kind="s", example="us"),
}


def dimension_of(attribute: str) -> Dimension:
    """Return what the attribute of a machine part measures: its unit is the end of its name.

    >>> dimension_of("idle_power_w").name
    'power'
    """
    return next((dimension for end, dimension in _BY_SUFFIX.items() if attribute.endswith(end)), _NUMBER)


def without_unit(attribute: str) -> str:
    """Return the attribute's name without its unit: the key in a machine file.

    >>> without_unit("read_bandwidth_bytes_per_s")
    'read_bandwidth'
    """
    return attribute.removesuffix(next((end for end in _BY_SUFFIX if attribute.endswith(end)), ""))
