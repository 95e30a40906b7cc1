"""The numbers that a machine consists of: path, unit and permitted interval of each.

The frozen dataclasses of `tmtrain.machine.machine` are the only list of them: an attribute carries its unit
as the end of its name (``read_bandwidth_bytes_per_s``), a file carries it beside the value (``read_bandwidth
= "34.6 GB/s"``).
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import get_args

from tmtrain.machine.constants.quantity import Dimension, dimension_of, without_unit
from tmtrain.machine.machine import (
    Compute,
    Dataflow,
    FastTier,
    FlashParts,
    Fusion,
    Link,
    Paging,
    Price,
    SlowTier,
    Suspension,
    WeightLoad,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """The values that make sense, in SI units."""

    low: float
    low_is_in: bool
    high: float = math.inf

    def __contains__(self, value: float) -> bool:
        return (
            math.isfinite(value) and self.low <= value <= self.high and (self.low_is_in or value > self.low)
        )

    def __str__(self) -> str:
        low = f"a finite number {'of at least' if self.low_is_in else 'above'} {self.low:g}"
        return low if math.isinf(self.high) else f"{low} and at most {self.high:g}"


_POSITIVE = Interval(low=0.0, low_is_in=False)
_COUNT = Interval(low=1.0, low_is_in=True, high=2.0**62)  # what a 64-bit integer holds, with room to add
_AT_LEAST_ONE = Interval(low=1.0, low_is_in=True)
_ZERO_OR_MORE = Interval(low=0.0, low_is_in=True)
# Zero is refused where it would be a forgotten number, and welcome where a part can really do without.
_SHARE = Interval(low=0.0, low_is_in=False, high=1.0)
_INTERVALS = {
    "compute.num_arrays": Interval(low=1.0, low_is_in=True, high=4096.0),  # see Note [Several arrays]
    "compute.fp32_passes": _AT_LEAST_ONE,
    "compute.static_power": _ZERO_OR_MORE,
    "compute.transcendental_share": _SHARE,
    "compute.reduction_share": _SHARE,
    "fast.efficiency": _SHARE,
    "fast.latency": _ZERO_OR_MORE,
    "fast.loss_per_decade": Interval(low=0.0, low_is_in=True, high=1.0),
    "fast.background": _ZERO_OR_MORE,
    "slow.read_latency": _ZERO_OR_MORE,
    "slow.write_latency": _ZERO_OR_MORE,
    "slow.erase_energy": _ZERO_OR_MORE,
    "slow.idle_power": _ZERO_OR_MORE,
    "slow.write_amplification": _AT_LEAST_ONE,
    "slow.device.over_provisioning": Interval(low=0.0, low_is_in=True, high=0.99),
    "link.energy": _ZERO_OR_MORE,
    "paging.fault_latency": _ZERO_OR_MORE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One number of a machine."""

    path: str
    """As people write it, e.g. "slow.read_bandwidth"."""
    section: str
    """Attribute of `Machine`, e.g. "slow"; for a price the date label."""
    attribute: str
    """Attribute of the section, e.g. "read_bandwidth_bytes_per_s"."""
    dimension: Dimension
    interval: Interval
    is_whole: bool
    """A count or a number of bytes."""

    @property
    def key(self) -> str:
        """Last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def example(self) -> str:
        """How a file may write it.

        >>> FIELDS["slow.read_bandwidth"].example
        'read_bandwidth = "1 GB/s"'
        """
        return f"{self.key} = " + (f'"1 {self.dimension.example}"' if self.dimension.kind else "1")

    def problem_with(self, value: float) -> str | None:
        """Say what is wrong with the SI `value`, or None.

        >>> FIELDS["fast.efficiency"].problem_with(1.5)
        'must be a finite number above 0 and at most 1'
        """
        if value not in self.interval:
            return f"must be {self.interval}"
        if self.is_whole and not math.isclose(value, round(value), rel_tol=1e-6):
            return (
                "must be a whole number of bytes" if self.dimension.kind == "B" else "must be a whole number"
            )
        return None


def _field(section: str, attribute: "dataclasses.Field[object]", *, path: str) -> Field:
    return Field(
        path=path,
        section=section,
        attribute=attribute.name,
        dimension=dimension_of(attribute.name),
        interval=_INTERVALS.get(path, _COUNT if attribute.type is int else _POSITIVE),
        is_whole=attribute.type is int,
    )


SECTIONS = {"compute": Compute, "fast": FastTier, "slow": SlowTier, "link": Link, "paging": Paging}
"""Sections of a machine file that hold numbers, besides the prices."""

FIELDS = {
    path: _field(section, attribute, path=path)
    for section, part in SECTIONS.items()
    for attribute in dataclasses.fields(part)
    if attribute.type in (int, float)
    for path in [f"{section}.{without_unit(attribute.name)}"]
}
"""Every number of a machine but its prices, by path and in the order of the dataclasses."""

DEVICE = "slow.device"
"""Path of the section that says what the flash consists of: all of it, or nothing."""

DEVICE_FIELDS = {
    path: _field("device", attribute, path=path)
    for attribute in dataclasses.fields(FlashParts)
    if attribute.type in (int, float)
    for path in [f"{DEVICE}.{without_unit(attribute.name)}"]
}
"""Its numbers, as `FIELDS`."""

CHOICES: dict[str, tuple[str, ...]] = {
    "compute.weight_load": get_args(WeightLoad),
    "compute.dataflow": get_args(Dataflow),
    "compute.fusion": get_args(Fusion),
    f"{DEVICE}.suspend": get_args(Suspension),
}
"""What is a word and no number, by path, with the words that it may be."""


def price_fields(label: str) -> dict[str, Field]:
    """Return the numbers of the prices at one date, by path.

    >>> list(price_fields("2025Q3"))
    ['prices.2025Q3.fast', 'prices.2025Q3.slow']
    """
    paths = {f"prices.{label}.{without_unit(price.name)}": price for price in dataclasses.fields(Price)}
    return {path: _field(label, price, path=path) for path, price in paths.items()}
