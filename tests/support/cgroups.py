"""Memory cgroups of both versions: what a process may hold, enforced by the kernel. Root is needed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Cgroup:
    """A group without a limit as yet; a process joins it by writing its number to `joins`."""

    folder: Path
    limit: Path
    """Bytes are written here."""

    @property
    def joins(self) -> Path:
        return self.folder / "cgroup.procs"


@contextmanager
def memory_cgroup(name: str) -> Iterator[Cgroup]:
    """Make a group and take it away again; skips the test where that is not allowed."""
    first = _ROOT / "memory" / name
    is_first = first.parent.is_dir()
    folder = first if is_first else _ROOT / name
    try:
        if not is_first:
            (_ROOT / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    try:
        yield Cgroup(folder, folder / ("memory.limit_in_bytes" if is_first else "memory.max"))
    finally:
        folder.rmdir()
