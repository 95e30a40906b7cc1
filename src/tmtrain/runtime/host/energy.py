"""Joules of the processors, where the host counts them: RAPL, as Linux shows it under powercap (Intel and AMD).

Note [Not by zeus]: the library reads the same files (0.16.0, tried in 2026-11), but cannot be used in scripts of others. It
watches for counters that go round from a spawned process, which runs the user's script again: without a guard around its
main part that trains a second time. It takes the counter of the whole platform (psys), which contains the others, for one
more processor. And it brings the GPU libraries of two makers, pandas and scikit-learn along.
"""

import time
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_MOST_W = 500
"""Of a package: thermal design power of the largest (EPYC 9965, Xeon 6980P; 2024). Says how soon a counter may go round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the counters said at a moment."""

    at_s: float
    microjoules: tuple[int, ...]
    """Of each package; empty where the host does not tell."""


class EnergyMeter:
    """The counters of all packages together. Without any, or without the right to read them, it knows nothing, quietly.

    Known limitations: they count whatever runs on the packages, other programs too, and neither drives nor, on most hosts,
    memory. Most systems let only root read them.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        """Find the counters.

        Args:
            folder: Where the kernel shows its power zones.
        """
        self._files: list[Path] = []
        self._ranges: list[int] = []
        """What each counts up to, in microjoules; then it begins at 0 again."""
        try:
            for zone in sorted(folder.glob("intel-rapl:*")):
                # Others are parts of packages, or the whole platform.
                if (zone / "name").read_text().startswith("package"):
                    self._ranges.append(int((zone / "max_energy_range_uj").read_text()))
                    self._files.append(zone / "energy_uj")
        except OSError:
            self._files.clear()

    def read(self) -> Counted:
        """Return what the counters say now."""
        try:
            counts = tuple(int(file.read_text()) for file in self._files)
        except OSError:
            counts = ()
        return Counted(at_s=time.perf_counter(), microjoules=counts)

    def joules_since(self, before: Counted) -> float | None:
        """Return what was used since then; None where the host does not tell, or so long ago that counters may mislead."""
        now = self.read()
        if not now.microjoules or len(now.microjoules) != len(before.microjoules):
            return None
        if (now.at_s - before.at_s) * _MOST_W * 1e6 > min(self._ranges):
            return None
        counters = zip(before.microjoules, now.microjoules, self._ranges, strict=True)
        return sum((after - first) % size for first, after, size in counters) / 1e6
