"""A machine with one number changed, for sensitivity sweeps."""

import difflib
from dataclasses import replace
from typing import TypeAlias, cast

from tmtrain.errors import MachineError
from tmtrain.machine.constants.check import check_machine
from tmtrain.machine.constants.field import DEVICE_FIELDS, FIELDS, Field, price_fields
from tmtrain.machine.machine import Compute, FastTier, FlashParts, Link, Machine, Paging, Price, SlowTier

_FLASH_RATES = ("slow.read_bandwidth", "slow.write_bandwidth")
_OF_THE_PARTS = ("slow.capacity", "slow.shared_bandwidth", *_FLASH_RATES)
"""Numbers that follow from what the flash consists of."""


def value_of(machine: Machine, *, path: str) -> float:
    """Return one number of a machine in SI units.

    Raises:
        MachineError: the machine has no such number.

    >>> from tmtrain.machine import load_machine
    >>> value_of(load_machine("v4-slc"), path="slow.program_energy")
    8e-10
    """
    field = _field_of(machine, path)
    return cast(float, getattr(_part_of(machine, field), field.attribute))


def with_constant(machine: Machine, *, path: str, value: float) -> Machine:
    """Return a copy of `machine` in which one number is `value` (SI units).

    Where the read or the write rate of the flash changes, the ceiling of both follows: what the slower
    direction can add on top of the faster one stays the same share of it, so that a shared bus stays shared
    and separate ones separate. Flash of another rate or capacity consists of other parts, of which nothing is known: the
    copy has no `Machine.device` then.

    Raises:
        MachineError: the machine has no such number, the value makes no sense, or it contradicts the others.

    >>> from tmtrain.machine import load_machine
    >>> cheap = with_constant(load_machine("v4-slc"), path="slow.program_energy", value=1.5e-10)
    >>> cheap.slow.program_energy_j_per_byte
    1.5e-10
    """
    field = _field_of(machine, path)
    problem = field.problem_with(value)
    if problem is not None:
        raise MachineError(
            f"{machine.name}: {path} is {value:g} {field.dimension.kind}".rstrip() + f": it {problem}"
        )
    part = replace(_part_of(machine, field), **{field.attribute: round(value) if field.is_whole else value})
    if isinstance(part, Price):
        return replace(machine, prices=machine.prices | {field.section: part})
    if isinstance(part, SlowTier) and path in _FLASH_RATES:
        part = _with_same_sharing(part, before=machine.slow)
    changed = replace(machine, **{field.section: part})
    if path in _OF_THE_PARTS and part != machine.slow:
        changed = replace(changed, device=None)
    check_machine(changed, file=machine.name)
    return changed


def _with_same_sharing(slow: SlowTier, *, before: SlowTier) -> SlowTier:
    old = sorted((before.read_bandwidth_bytes_per_s, before.write_bandwidth_bytes_per_s))
    new = sorted((slow.read_bandwidth_bytes_per_s, slow.write_bandwidth_bytes_per_s))
    share_on_top = (before.shared_bandwidth_bytes_per_s - old[1]) / old[0]
    return replace(slow, shared_bandwidth_bytes_per_s=new[1] + share_on_top * new[0])


_Part: TypeAlias = Compute | FastTier | SlowTier | FlashParts | Link | Paging | Price


def _part_of(machine: Machine, field: Field) -> _Part:
    """Return the section that holds `field`."""
    if field.path in FIELDS or field.path in DEVICE_FIELDS:
        return getattr(machine, field.section)
    return machine.prices[field.section]


def _field_of(machine: Machine, path: str) -> Field:
    fields = FIELDS | (DEVICE_FIELDS if machine.device is not None else {})
    for label in machine.prices:
        fields |= price_fields(label)
    if path in fields:
        return fields[path]
    close = difflib.get_close_matches(path, fields, n=1)
    hint = f", did you mean {close[0]!r}?" if close else f"; there are: {', '.join(fields)}"
    raise MachineError(f"machine {machine.name} has no number {path!r}{hint}")
