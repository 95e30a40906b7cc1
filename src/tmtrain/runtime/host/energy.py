"""Joules of the processors, where the host counts them: RAPL, as Linux shows it under powercap (Intel and AMD).

Note [Not by zeus]: the library reads the same files (0.16.0, tried in 2026-11), but cannot be used in scripts of others. It
watches for counters that go round from a spawned process, which runs the user's script again: without a guard around its
main part that trains a second time. It takes the counter of the whole platform (psys), which contains the others, for one
more processor. And it brings the GPU libraries of two makers, pandas and scikit-learn along.
"""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_folder: ContextVar[Path] = ContextVar("tmtrain powercap", default=POWERCAP)
_MOST_W = 500
"""Of a package: thermal design power of the largest (EPYC 9965, Xeon 6980P; 2024). Says how soon a counter may go round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the counters said at one time."""

    at_s: float
    microjoules: tuple[int, ...]
    """Of each package; empty where the host does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PackageCounter:
    """The counter of one processor package."""

    file: Path
    range_uj: int
    """What it counts up to, in microjoules; then it begins at 0 again."""


class EnergyMeter:
    """The counters of all packages together.

    Where nothing can be read, every answer is None and `reason` says why, and what to do. A run must not fail for want of
    a counter, and must not warn of it on every computer that has none.

    Known limitations: they count whatever runs on the packages, other programs too, and neither drives nor, on most hosts,
    memory. Most systems let only root read them.

    Example:
        >>> meter = EnergyMeter()
        >>> before = meter.read()
        >>> product = [i * i for i in range(1000)]
        >>> joules = meter.joules_since(before)
        >>> joules is None or joules >= 0
        True
        >>> (joules is None) == bool(meter.reason)
        True
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Find the counters.

        Args:
            folder: Where the kernel shows its power zones; by default where Linux does.
        """
        self.reason = ""
        """Why the last answer was None; empty when it was a number."""
        self._folder = _folder.get() if folder is None else folder
        self._counters: list[_PackageCounter] = []
        try:
            self._counters = _package_counters(self._folder)
        except OSError as error:
            self.reason = _unreadable(error)
        else:
            self.read()  # whoever looks at `reason` now learns what a run would meet

    def read(self) -> Counted:
        """Return what the counters say now."""
        microjoules: tuple[int, ...] = ()
        if self._counters:
            try:
                microjoules = tuple(int(counter.file.read_text()) for counter in self._counters)
                self.reason = ""
            except OSError as error:
                self.reason = _unreadable(error)
        elif not self.reason:
            self.reason = (
                f"{self._folder} has no RAPL counters: a virtual machine, or another kind of processor"
            )
        return Counted(at_s=time.perf_counter(), microjoules=microjoules)

    def joules_since(self, before: Counted) -> float | None:
        """Return what was used since then; None, and `reason`, where nobody can tell."""
        now = self.read()
        if not now.microjoules:
            return None
        if len(now.microjoules) != len(before.microjoules):
            self.reason = "the counters could not be read at the beginning"
            return None
        range_uj = min(counter.range_uj for counter in self._counters)
        # A counter that went round once is told by its being lower; nothing tells of a second round.
        if (now.at_s - before.at_s) * _MOST_W * 1e6 > range_uj:
            self.reason = (
                f"{now.at_s - before.at_s:.0f} s have passed, a counter may have gone round twice: they count up to "
                f"{range_uj / 1e6:.0f} J, so measure at least every {range_uj / 1e6 / _MOST_W:.0f} s"
            )
            return None
        used = zip(self._counters, before.microjoules, now.microjoules, strict=True)
        return sum((after - first) % counter.range_uj for counter, first, after in used) / 1e6


@contextmanager
def counters_under(folder: Path) -> Generator[None]:
    """Let every meter that is made inside, by this thread, find its counters in `folder`; see `tmtrain.testing`."""
    token = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(token)


def _package_counters(folder: Path) -> list[_PackageCounter]:
    return [
        _PackageCounter(file=zone / "energy_uj", range_uj=int((zone / "max_energy_range_uj").read_text()))
        for zone in sorted(folder.glob("intel-rapl:*"))
        # Others are parts of packages, or the whole platform: they would count twice.
        if (zone / "name").read_text().startswith("package")
    ]


def _unreadable(error: OSError) -> str:
    """Say why a counter cannot be read; since Linux 5.10 root alone may, for counters give secrets away (CVE-2020-8694)."""
    if isinstance(error, PermissionError):
        return (
            f"{error.filename} may be read by root only. `sudo chmod a+r {POWERCAP}/intel-rapl:*/energy_uj` lets "
            "everybody, until the next start of the system"
        )
    return f"{error.filename} cannot be read: {error.strerror}"
