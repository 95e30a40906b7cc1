"""Export "table": the decisions of a plan as tables, one row per storage, per module, and per gap.

``PATH.json`` becomes one JSON file; any other path a folder of Parquet tables (a bundle of kind "fates").
docs/exports.md says what each column is.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmtrain.bundle import MANIFEST, Bundle, write_bundle, write_text_atomically
from tmtrain.errors import InputError
from tmtrain.exports.ledger import Ledger
from tmtrain.trace import Phase, Role

KIND = "fates"
VERSION = 1

_ENDS = ("write", "leave", "fetch", "return")
"""Points of a transfer that have two columns each: the index of the operator there, and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FateTables:
    """The three tables, and whose they are."""

    meta: dict[str, Any]
    storages: pa.Table
    modules: pa.Table
    gaps: pa.Table


def make_tables(ledger: Ledger) -> FateTables:
    """Lay out what a plan does with each storage, each module's storages, and each gap.

    >>> from tmtrain.exports.example import example_ledger
    >>> tables = make_tables(example_ledger())
    >>> tables.storages.column_names[:4], tables.storages.num_rows
    (['name', 'module', 'role', 'bytes'], 10)
    """
    return FateTables(
        meta=_meta(ledger),
        storages=pa.table(_storage_columns(ledger)),
        modules=pa.table(_module_columns(ledger)),
        gaps=pa.table(_gap_columns(ledger)),
    )


def write_tables(tables: FateTables, path: Path) -> None:
    """Write the tables whole or not at all: one file if `path` ends in ".json", else a folder of Parquet tables.

    Raises:
        InputError: `path` is taken by something else, or the disk refuses.
    """
    named = {"storages": tables.storages, "modules": tables.modules, "gaps": tables.gaps}
    if path.suffix == ".json":
        record: dict[str, Any] = {"format": "tmtrain", "kind": KIND, "version": VERSION, "meta": tables.meta}
        record |= {name: table.to_pylist() for name, table in named.items()}
        write_text_atomically(path, json.dumps(record, indent=1) + "\n")
        return
    _refuse_other_bundle(path)
    write_bundle(path, Bundle(kind=KIND, version=VERSION, meta=tables.meta, tables=named))


def _refuse_other_bundle(path: Path) -> None:
    """A bundle replaces an older one; the plan that is exported must not be replaced by its export."""
    manifest = path / MANIFEST
    if not manifest.is_file():
        return
    try:
        kind = json.loads(manifest.read_text()).get("kind")
    except ValueError:
        kind = None
    if kind != KIND:
        raise InputError(f"{path} holds a {kind!r}, not an older table: choose another name for --out")


def _meta(ledger: Ledger) -> dict[str, Any]:
    plan, timeline = ledger.plan, ledger.timeline
    return {
        "model": ledger.trace.model,
        "trace_fingerprint": plan.trace_fingerprint,
        "machine": plan.machine,
        "fast_bytes": plan.fast_bytes,
        "page_bytes": timeline.page_bytes,
        "objective": plan.objective,
        "prediction": msgspec.to_builtins(plan.prediction),
    }


def _storage_columns(ledger: Ledger) -> dict[str, Any]:
    storages, operators = ledger.trace.storages, ledger.trace.operators
    split, longest = ledger.over_long_gaps(), _long_gap(ledger)
    whole = np.maximum(split.pages, 1)
    birth = np.minimum(storages.birth_op, len(operators) - 1)
    birth_phase = [
        None if p else Phase(int(operators.phase[b])).name.lower()
        for p, b in zip(storages.persistent, birth, strict=True)
    ]
    columns: dict[str, Any] = {
        "name": storages.name,
        "module": storages.module,
        "role": [Role(int(role)).name.lower() for role in storages.role],
        "bytes": storages.bytes,
        "made": pa.array(birth_phase, pa.string()),
    }
    columns |= _use_columns(ledger, longest)
    columns |= {
        "kept_share": np.where(split.pages > 0, split.kept / whole, 1.0),
        "moved_share": split.moved / whole,
        "recomputed_share": split.recomputed / whole,
        "bytes_in": ledger.bytes_in,
        "bytes_out": ledger.bytes_out,
    }
    return columns | _transfer_columns(ledger)


def _long_gap(ledger: Ledger) -> NDArray[np.int64]:
    """Return the longest gap of each storage, -1 where it has none."""
    longest = ledger.long_gap_of_extent()
    longest = longest[longest >= 0]
    order = longest[np.argsort(ledger.gap_s[longest], kind="stable")]
    gap = np.full(ledger.storages, -1, np.int64)
    gap[ledger.storage_of_gap[order]] = order  # of several extents the last one stays: its gap is the longest
    return gap


def _use_columns(ledger: Ledger, gap: NDArray[np.int64]) -> dict[str, Any]:
    """Columns that say between which operators a gap lies; empty where there is none (-1)."""
    gaps, op, is_none = ledger.problem.gaps, ledger.timeline.slices.op, gap < 0
    if not len(gaps):
        gap = np.zeros(0, np.int64)
        is_none = np.zeros(0, np.bool_)
    columns: dict[str, Any] = {}
    for word, at in (("after", gaps.start), ("before", gaps.end)):
        columns |= _operator_columns(ledger, word, op[at[gap]], is_none)
    return columns | {"gap_s": pa.array(ledger.gap_s[gap], mask=is_none)}


def _operator_columns(
    ledger: Ledger, word: str, op: NDArray[np.int32], is_none: NDArray[np.bool_]
) -> dict[str, Any]:
    names = [None if none else ledger.trace.operators.name[o] for o, none in zip(op, is_none, strict=True)]
    return {
        f"{word}_op": pa.array(op, pa.int32(), mask=is_none),
        f"{word}_operator": pa.array(names, pa.string()),
    }


def _transfer_columns(ledger: Ledger) -> dict[str, Any]:
    """Columns of the transfer during which each storage is away longest."""
    moves, longer_step = ledger.plan.transfers, ledger.longer_step
    owner = longer_step.extents.storage[moves.extent]
    row = np.full(ledger.storages, -1, np.int64)
    order = np.argsort(moves.return_slice - moves.leave_slice, kind="stable")
    row[owner[order]] = order
    columns: dict[str, Any] = {}
    is_none = row < 0
    for word in _ENDS:
        t: NDArray[np.int32] = getattr(moves, f"{word}_slice")
        at = (
            np.where(is_none, 0, t[row] % len(longer_step.slices))
            if len(moves)
            else np.zeros(len(row), np.int64)
        )
        columns |= _operator_columns(ledger, word, longer_step.slices.op[at], is_none)
    return columns


def _module_columns(ledger: Ledger) -> dict[str, Any]:
    storages, split, page = ledger.trace.storages, ledger.over_long_gaps(), ledger.timeline.page_bytes
    names = sorted(set(storages.module))
    number = {name: i for i, name in enumerate(names)}
    module = np.array([number[name] for name in storages.module], np.int64)

    def total(values: NDArray[np.int64]) -> NDArray[np.int64]:
        added = np.zeros(len(names), np.int64)
        np.add.at(added, module, values)
        return added

    whole = total(split.pages)
    some = np.maximum(whole, 1)
    return {
        "module": names,
        "storages": total(np.ones(len(storages), np.int64)),
        "bytes": total(storages.bytes),
        "paged_bytes": whole * page,
        "kept_share": np.where(whole > 0, total(split.kept) / some, 1.0),
        "moved_share": total(split.moved) / some,
        "recomputed_share": total(split.recomputed) / some,
        "bytes_in": total(ledger.bytes_in),
        "bytes_out": total(ledger.bytes_out),
    }


def _gap_columns(ledger: Ledger) -> dict[str, Any]:
    """One row per storage and pair of operators: extents whose gaps have the same ends are counted together."""
    gaps, op, page = ledger.problem.gaps, ledger.timeline.slices.op, ledger.timeline.page_bytes
    keys = np.column_stack([ledger.storage_of_gap, op[gaps.start], op[gaps.end], gaps.end <= gaps.start])
    rows, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)

    def total(pages: NDArray[np.int64]) -> NDArray[np.int64]:
        added = np.zeros(len(rows), np.int64)
        np.add.at(added, group.reshape(-1), pages * page)
        return added

    columns: dict[str, Any] = {"storage": [ledger.trace.storages.name[s] for s in rows[:, 0]]}
    columns |= _use_columns(ledger, first.astype(np.int64))
    return columns | {
        "wraps": rows[:, 3].astype(np.bool_),
        "bytes": total(gaps.pages),
        "kept_bytes": total(ledger.fates.kept),
        "moved_bytes": total(ledger.fates.moved),
        "recomputed_bytes": total(ledger.fates.recomputed),
    }
