"""From a machine file to a `Machine`, and to the table of its constants."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from tmtrain.errors import MachineError
from tmtrain.machine.calibration import read_calibration
from tmtrain.machine.constants.check import check_machine
from tmtrain.machine.constants.constant import Constant
from tmtrain.machine.constants.field import (
    CHOICES,
    DEVICE,
    DEVICE_FIELDS,
    FIELDS,
    SECTIONS,
    Field,
    price_fields,
)
from tmtrain.machine.constants.sheet import Sheet, read_sheet
from tmtrain.machine.machine import Machine

_OPTIONAL = {
    "compute.transcendental_share": (1.0, "not said: as fast as arithmetic"),
    "compute.reduction_share": (1.0, "not said: as fast as arithmetic"),
    "fast.stacks": (1.0, "one piece, or not said"),
    "fast.loss_per_decade": (0.0, "not said: the latency is the curve"),
    "fast.full": (100e6, "without effect, unless loss_per_decade is given"),
    "slow.retention_factor": (1.0, "not relaxed"),
}
"""What a file may leave out: the value that then counts, and what is said as its source."""


def load_machine(name_or_path: str | Path, *, calibration: Path | None = None) -> Machine:
    """Load a machine: a preset by name (`list_machines`) or a TOML file by path (``docs/machine-format.md``).

    Args:
        name_or_path: Which.
        calibration: File of measured times (`read_calibration`).

    Raises:
        MachineError: no such machine, or the file has an unknown or missing key, a wrong unit, a value that
            makes no sense, or numbers that contradict each other; the message names the file and the key.
        InputError: the measured times cannot be read.

    >>> round(load_machine("v4-slc").read_bytes_per_s / 1e9, 1)
    34.6
    """
    sheet = read_sheet(name_or_path)
    machine = _assemble(sheet, _complete(sheet))
    return machine if calibration is None else replace(machine, calibration=read_calibration(calibration))


def describe_machine(name_or_path: str | Path) -> tuple[Constant, ...]:
    """Return every number of a machine with unit, range, source and date, in the order of `Machine`.

    Raises:
        MachineError: as `load_machine`.

    >>> [(c.value, c.unit) for c in describe_machine("v4-slc") if c.path == "slow.program_energy"]
    [(100.0, 'pJ/bit')]
    """
    sheet = read_sheet(name_or_path)
    constants = _complete(sheet)
    _assemble(sheet, constants)
    device = DEVICE_FIELDS if _has_device(constants) else {}
    prices = [path for path in constants if path.startswith("prices.")]
    return tuple(constants[path] for path in (*FIELDS, *device, *prices))


def _assemble(sheet: Sheet, constants: Mapping[str, Constant]) -> Machine:
    tree: dict[str, Any] = {
        "name": sheet.name,
        "description": sheet.description,
        "prices": {label: _values(price_fields(label), constants) for label in _price_labels(constants)},
    }
    for section in SECTIONS:
        fields = {path: field for path, field in FIELDS.items() if field.section == section}
        tree[section] = _values(fields, constants)
    choices = _choices(sheet)
    tree["compute"] |= _words(choices, section="compute")
    if _has_device(constants):
        tree["device"] = _values(DEVICE_FIELDS, constants) | _words(choices, section=DEVICE)
    machine = msgspec.convert(tree, Machine)
    check_machine(machine, file=sheet.file)
    return machine


def _choices(sheet: Sheet) -> dict[str, object]:
    """Return what is a word, by path; what may be left out filled in."""
    chosen = {
        "compute.dataflow": "weight",
        "compute.fusion": "none",
        f"{DEVICE}.suspend": "off",
    } | sheet.choices
    for path, words in CHOICES.items():
        if chosen.get(path) not in words:
            said = f"is {chosen[path]!r}" if path in chosen else "is missing"
            choice = " or ".join(f'"{word}"' for word in words)
            raise MachineError(f"{sheet.file}: {path} {said}: write {path.rpartition('.')[2]} = {choice}")
    return chosen


def _words(choices: Mapping[str, object], *, section: str) -> dict[str, object]:
    parts = {path: path.rpartition(".") for path in choices}
    return {key: choices[path] for path, (home, _, key) in parts.items() if home == section}


def _has_device(constants: Mapping[str, Constant]) -> bool:
    return not DEVICE_FIELDS.keys().isdisjoint(constants)


def _complete(sheet: Sheet) -> dict[str, Constant]:
    """Return all numbers of the machine, the optional ones filled in."""
    constants = dict(sheet.constants)
    for path, (value, source) in _OPTIONAL.items():
        _default(constants, path, value_si=value, source=source)
    fields = FIELDS | (DEVICE_FIELDS if _has_device(constants) else {})
    for label in _price_labels(constants):
        fields |= price_fields(label)
    del fields["slow.shared_bandwidth"]  # optional too, but its default follows from two others, below
    for path, field in fields.items():
        if path not in constants:
            raise MachineError(
                f"{sheet.file}: {path} is missing: write for example {field.example}, "
                'or take what you do not give from a preset with base = "v4-slc"'
            )
    both = constants["slow.read_bandwidth"].value_si + constants["slow.write_bandwidth"].value_si
    source = "read_bandwidth + write_bandwidth: the two directions do not share"
    _default(constants, "slow.shared_bandwidth", value_si=both, source=source)
    return constants


def _default(constants: dict[str, Constant], path: str, *, value_si: float, source: str) -> None:
    """Fill in an optional number."""
    dimension = FIELDS[path].dimension
    unit = dimension.example if dimension.kind else ""
    scale = dimension.scale_of(unit) or 1.0
    constants.setdefault(
        path,
        Constant(
            path=path,
            value=value_si / scale,
            unit=unit,
            low=None,
            high=None,
            source=source,
            date="",
            scale=scale,
        ),
    )


def _price_labels(constants: Mapping[str, Constant]) -> list[str]:
    """Return the dates of the prices, the default first."""
    labels = (path.split(".", 1)[1].rpartition(".")[0] for path in constants if path.startswith("prices."))
    return list(dict.fromkeys(labels))


def _values(fields: Mapping[str, Field], constants: Mapping[str, Constant]) -> dict[str, float]:
    values = {field.attribute: (field, constants[path].value_si) for path, field in fields.items()}
    return {name: round(value) if field.is_whole else value for name, (field, value) in values.items()}
