"""A Sheet: what a machine file says, read and checked number by number but not yet put together."""

import difflib
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any, cast

import msgspec

from tmtrain.errors import MachineError
from tmtrain.machine.constants.constant import Constant, read_constant
from tmtrain.machine.constants.field import (
    CHOICES,
    DEVICE,
    DEVICE_FIELDS,
    FIELDS,
    SECTIONS,
    Field,
    price_fields,
)

SCHEMA = 1
"""Version of the machine file format."""
DEFAULT_MACHINE = "v4-slc"
UNKNOWN = "unknown"
"""What a file whose flash is not that of its base writes for `DEVICE`."""

_PRESETS = resources.files("tmtrain.machine") / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The content of one machine file, completed from its base."""

    file: str
    """As messages call it: the preset's name or the path."""
    name: str
    description: str
    choices: dict[str, object]
    """What is a word, as written, by path."""
    constants: dict[str, Constant]
    """By path; prices in the order in which their dates count."""
    drops_device: bool
    """The file says that nothing is known of the flash's parts, whatever its base says."""


class _MachineFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The outer form of a machine file."""

    schema: int
    base: str | None = None
    name: str | None = None
    description: str | None = None
    compute: dict[str, Any] = {}
    fast: dict[str, Any] = {}
    slow: dict[str, Any] = {}
    link: dict[str, Any] = {}
    paging: dict[str, Any] = {}
    prices: dict[str, Any] = {}


def list_machines() -> tuple[str, ...]:
    """Return the names of the presets, the default first.

    >>> list_machines()
    ('v4-slc', 'a100-tlc5', 'g10-host', 'g10-ssd', 'v5p-hbf', 'znvme-g10')
    """
    names = {entry.name.removesuffix(".toml") for entry in _PRESETS.iterdir() if entry.name.endswith(".toml")}
    return (DEFAULT_MACHINE, *sorted(names - {DEFAULT_MACHINE}))


def read_sheet(name_or_path: str | Path) -> Sheet:
    """Read a preset by name or a file by path, and complete it from its base.

    Raises:
        MachineError: no such preset or file, not TOML, or a key, unit or value that makes no sense.
    """
    name, text = _text_of(name_or_path)
    file = str(name_or_path)
    content = _parse(text, file=file)
    # Choices and numbers are checked one by one here; whether they go together is known only once all are there.
    own = Sheet(
        file=file,
        name=content.name or name,
        description=content.description or "",
        choices=_choices_of(content),
        constants=_constants_of(content, file=file),
        drops_device=content.slow.get("device") == UNKNOWN,
    )
    return (
        own if content.base is None else _completed(own, read_sheet(_preset_named(content.base, file=file)))
    )


def _completed(own: Sheet, base: Sheet) -> Sheet:
    changes = [*own.constants, *own.choices]
    inherited = {p: c for p, c in base.constants.items() if not (own.drops_device and p in DEVICE_FIELDS)}
    changed = f"{base.name} with changed {', '.join(changes)}" if changes else base.description
    return replace(
        own,
        description=own.description or changed,
        choices=base.choices | own.choices,
        # Own numbers come first, so that own price dates do too: the first date is the default.
        constants=own.constants | {p: c for p, c in inherited.items() if p not in own.constants},
    )


def _text_of(name_or_path: str | Path) -> tuple[str, str]:
    """Return the machine's name and the file's text."""
    path = Path(name_or_path)
    is_name = name_or_path == path.name and path.suffix != ".toml" and not path.is_file()
    if name_or_path in list_machines() or is_name:
        preset = _preset_named(str(name_or_path))
        return preset, (_PRESETS / f"{preset}.toml").read_text(encoding="utf-8")
    try:
        return path.stem, path.read_text(encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{path}: cannot read the machine file: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise MachineError(f"{path}: not a text file in UTF-8: a machine is described in TOML") from error


def _preset_named(name: str, *, file: str | None = None) -> str:
    known = list_machines()
    if name in known:
        return name
    where = f"{file}: base: " if file else ""
    raise MachineError(
        f"{where}no machine is called {name!r}{_did_you_mean(name, known)}; presets: {', '.join(known)}; "
        + ("a base is a preset" if file else "or give the path of a .toml file")
    )


def _parse(text: str, *, file: str) -> _MachineFile:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MachineError(f"{file}: not TOML: {error}") from error
    _refuse_unknown(table, known=_MachineFile.__struct_fields__, prefix="", file=file)
    version = table.get("schema")
    if version != SCHEMA:
        said = "does not say its schema version" if version is None else f"has schema version {version!r}"
        raise MachineError(
            f"{file}: {said}, this release reads {SCHEMA}: write schema = {SCHEMA} (or update tmtrain)"
        )
    try:
        return msgspec.convert(table, _MachineFile)
    except msgspec.ValidationError as error:
        raise MachineError(f"{file}: {str(error).replace('$.', '')}: see docs/machine-format.md") from error


def _constants_of(content: _MachineFile, *, file: str) -> dict[str, Constant]:
    constants: dict[str, Constant] = {}
    for section in SECTIONS:
        fields = {path: field for path, field in FIELDS.items() if field.section == section}
        extra = (*_words_of(section), "device") if section == "slow" else _words_of(section)
        table = getattr(content, section)
        constants |= _read_section(table, fields=fields, prefix=f"{section}.", extra=extra, file=file)
    constants |= _device_of(content, file=file)
    for label, table in content.prices.items():
        if not isinstance(table, dict):
            raise MachineError(
                f"{file}: prices.{label} is not a section: write [prices.{label}] and the prices below"
            )
        constants |= _read_section(table, fields=price_fields(label), prefix=f"prices.{label}.", file=file)
    return constants


def _device_of(content: _MachineFile, *, file: str) -> dict[str, Constant]:
    device = content.slow.get("device", UNKNOWN)
    if device == UNKNOWN:
        return {}
    if not isinstance(device, dict):
        raise MachineError(
            f'{file}: {DEVICE} is {device!r}: write [{DEVICE}] and its parts below, or device = "{UNKNOWN}"'
        )
    table = cast(dict[str, object], device)
    return _read_section(table, fields=DEVICE_FIELDS, prefix=f"{DEVICE}.", extra=_words_of(DEVICE), file=file)


def _choices_of(content: _MachineFile) -> dict[str, object]:
    device = content.slow.get("device")
    tables = {
        "compute": content.compute,
        DEVICE: cast(dict[str, object], device) if isinstance(device, dict) else {},
    }
    return {
        f"{section}.{key}": table[key]
        for section, table in tables.items()
        for key in _words_of(section)
        if key in table
    }


def _words_of(section: str) -> tuple[str, ...]:
    """Return the keys of a section that are words."""
    return tuple(path.rpartition(".")[2] for path in CHOICES if path.rpartition(".")[0] == section)


def _read_section(
    table: Mapping[str, object],
    *,
    fields: Mapping[str, Field],
    prefix: str,
    file: str,
    extra: tuple[str, ...] = (),
) -> dict[str, Constant]:
    _refuse_unknown(
        table, known=[*(field.key for field in fields.values()), *extra], prefix=prefix, file=file
    )
    return {
        path: read_constant(table[field.key], field=field, file=file)
        for path, field in fields.items()
        if field.key in table
    }


def _refuse_unknown(table: Mapping[str, object], *, known: Collection[str], prefix: str, file: str) -> None:
    for key in table:
        if key not in known:
            raise MachineError(
                f"{file}: {prefix}{key} is not a key of a machine file{_did_you_mean(key, known)}; "
                f"here may stand: {', '.join(known)}"
            )


def _did_you_mean(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}?" if close else ""
