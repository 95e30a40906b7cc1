"""A bundle: a folder of Parquet tables and one JSON manifest, the form of every file of ours.

Anything that reads Parquet opens the tables (``pandas.read_parquet("gpt2.trace/operators.parquet")``); nothing in
a bundle is executable. The manifest carries the kind, the format version, free metadata and a SHA-256 of each table
and of itself, so that a truncated or edited bundle is refused instead of believed. A bundle is written under a
temporary name and renamed, so a half-written one never carries the final name.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tmtrain.errors import FileFormatError, InputError

MANIFEST = "manifest.json"
DIGEST = "digest"
"""Key of a JSON object under which the digest of the rest stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The content of a bundle folder."""

    kind: str
    """What it holds: "trace", "plan" or "result"."""
    version: int
    """Format version of that kind."""
    meta: dict[str, Any]
    """JSON metadata."""
    tables: dict[str, pa.Table]
    """Tables by name; the file is ``NAME.parquet``."""


def write_bundle(path: Path, bundle: Bundle) -> None:
    """Write `bundle` as folder `path`, whole or not at all; an older bundle there is replaced.

    Raises:
        InputError: `path` exists and is not a bundle, or the disk refuses (full, read-only).
    """
    if path.exists() and not (path / MANIFEST).is_file():
        raise InputError(f"{path} exists and is not a tmtrain bundle: choose another name or remove it")
    staging: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        for name, table in bundle.tables.items():
            pq.write_table(table, staging / f"{name}.parquet", compression="zstd")
        manifest = _manifest(bundle, staging)
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        staging.chmod(0o755)
        _replace(staging, path)
    except OSError as error:
        raise InputError(
            f"could not write {path}: {error.strerror or error}; nothing was left behind"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def read_bundle(
    path: Path, *, kind: str, version: int, renamed: Mapping[str, str] = MappingProxyType({})
) -> Bundle:
    """Read the bundle at `path`, checking kind, version and every digest.

    Args:
        path: The folder.
        kind: What it must hold.
        version: The newest format version that the reader knows.
        renamed: Names of tables, columns and scalars in older versions, and what each is called now.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not a bundle, another kind, a newer version, truncated or edited.
    """
    manifest = _read_manifest(path)
    if manifest.get("kind") != kind:
        raise FileFormatError(f"{path} holds a {manifest.get('kind')!r}, a {kind!r} is needed", path=path)
    written = manifest.get("version")
    if type(written) is not int or not 1 <= written <= version:
        raise FileFormatError(
            f"{path} has {kind} format version {written}, this release reads up to {version}: update tmtrain",
            path=path,
            version=written if isinstance(written, int) else None,
            newest_version=version,
        )
    if not is_sealed(manifest):
        raise FileFormatError(
            f"{path}/{MANIFEST} was edited after it was written: make the {kind} again", path=path / MANIFEST
        )
    meta, tables = _content(path, manifest)
    if written < version:
        meta, tables = rename_keys(meta, renamed), rename_keys(tables, renamed)
        tables = {
            name: table.rename_columns([renamed.get(column, column) for column in table.column_names])
            for name, table in tables.items()
        }
    return Bundle(kind=kind, version=written, meta=meta, tables=tables)


def check_range(
    source: str, column: str, values: NDArray[Any], *, low: float, high: float | None = None
) -> None:
    """Refuse a column with a number that cannot be: not finite, or outside of a range.

    Raises:
        FileFormatError: says which, and where.

    >>> check_range("a.trace", "operators.flops", np.array([0, -1]), low=0)
    Traceback (most recent call last):
    tmtrain.errors.FileFormatError: a.trace: operators.flops[1] is -1, needs to be at least 0
    """
    wrong = np.ones(len(values), bool)
    # "u" and "O" are numpy's answer to whole numbers of 64 bits and more, which no column of ours has.
    if values.dtype.kind not in "uO":
        wrong = ~np.isfinite(values) | (values < low) | (values > (np.inf if high is None else high))
    if np.any(wrong):
        row = int(np.argmax(wrong))
        least = "finite" if low == -np.inf else f"at least {low}"
        raise FileFormatError(
            f"{source}: {column}[{row}] is {values[row]}, needs to be {least if high is None else f'in {low}..{high}'}",
            path=source,
            field=column,
            row=row,
        )


def rename_keys(value: Any, renamed: Mapping[str, str]) -> Any:
    """Return `value` with the keys of all objects in it as they are called now.

    >>> rename_keys({"replay_s": 1.0, "rows": [{"replay_s": 2.0}]}, {"replay_s": "recompute_s"})
    {'recompute_s': 1.0, 'rows': [{'recompute_s': 2.0}]}
    """
    if isinstance(value, dict):
        return {renamed.get(key, key): rename_keys(inner, renamed) for key, inner in value.items()}
    if isinstance(value, list):
        return [rename_keys(inner, renamed) for inner in value]
    return value


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it: readers see the old or the new file, never half.

    Raises:
        InputError: the disk refuses (full, read-only, no such folder); the old file, if any, is untouched.
    """
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: Path, data: bytes) -> None:
    """Write a binary file under a temporary name, then rename it (see `write_text_atomically`)."""
    try:
        with replacing(path) as staging:
            staging.write_bytes(data)
    except OSError as error:
        raise InputError(
            f"could not write {path}: {error.strerror or error}; nothing was left behind"
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Yield a name to write to: that file takes the place of `path` when the block ends without error, else it is removed.

    Raises:
        OSError: the disk refuses; the old file, if any, is untouched.
    """
    staging = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield staging
        staging.replace(path)
    finally:
        with contextlib.suppress(OSError):  # not there, or its folder is none: there is nothing to remove
            staging.unlink()


def fingerprint(tables: Mapping[str, pa.Table], meta: Mapping[str, Any]) -> str:
    """Return a SHA-256 over the content (not the encoding) of `tables` and `meta`: the identity of what they say."""
    digest = hashlib.sha256(json.dumps(meta, sort_keys=True).encode())
    for name in sorted(tables):
        sink = pa.BufferOutputStream()
        table = tables[name].combine_chunks()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        digest.update(name.encode())
        digest.update(sink.getvalue())
    return digest.hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a digest of all else that it says, however it is laid out.

    >>> is_sealed(sealed({"lr": 0.001})), is_sealed(sealed({"lr": 0.001}) | {"lr": 9.001}), is_sealed({"lr": 0.001})
    (True, False, False)
    """
    content = {key: value for key, value in record.items() if key != DIGEST}
    return {**content, DIGEST: _digest_of(content)}


def is_sealed(record: Mapping[str, Any]) -> bool:
    """Whether a JSON object says what it said when `sealed` was called."""
    return record.get(DIGEST) == sealed(record)[DIGEST]


def _manifest(bundle: Bundle, folder: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "format": "tmtrain",
        "kind": bundle.kind,
        "version": bundle.version,
        "meta": bundle.meta,
        "tables": {name: _sha256(folder / f"{name}.parquet") for name in bundle.tables},
    }
    return sealed(manifest)


def _read_manifest(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise InputError(f"no such file: {path}")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is not a tmtrain bundle: {MANIFEST} is missing or not JSON", path=path
        ) from error
    if not isinstance(manifest, dict) or manifest.get("format") != "tmtrain":
        raise FileFormatError(
            f"{path} is not a tmtrain bundle: {MANIFEST} does not say format 'tmtrain'", path=path
        )
    return manifest


def _content(path: Path, manifest: dict[str, Any]) -> tuple[dict[str, Any], dict[str, pa.Table]]:
    """Read what a manifest lists, which may be anything that somebody has given a right digest."""
    meta, digests = manifest.get("meta"), manifest.get("tables")
    if not isinstance(meta, dict) or not isinstance(digests, dict) or not all(map(str.isidentifier, digests)):
        raise FileFormatError(
            f"{path}/{MANIFEST} lists no metadata and tables: make it again", path=path / MANIFEST
        )
    return meta, {name: _read_table(path, name, digest) for name, digest in digests.items()}


def _read_table(path: Path, name: str, digest: str) -> pa.Table:
    file = path / f"{name}.parquet"
    if not file.is_file():
        raise FileFormatError(f"{path} is incomplete: {name}.parquet is missing", path=file)
    if _sha256(file) != digest:
        raise FileFormatError(
            f"{file} is truncated or was edited: its SHA-256 is not the one in {MANIFEST}", path=file
        )
    try:
        return pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(f"{file} is no Parquet table: make it again", path=file) from error


def _digest_of(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _replace(staging: Path, path: Path) -> None:
    """Rename `staging` to `path`; a folder cannot be renamed over a full one, so the old one steps aside first."""
    if not path.exists():
        staging.rename(path)
        return
    # From here to the second rename there is nothing at `path`: whoever is killed in between finds the old one beside it.
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(old)
    try:
        staging.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)
