"""What the system counts of this process, beside our own books (Linux)."""

from dataclasses import dataclass
from pathlib import Path

_IO, _STATUS, _CLEAR = Path("/proc/self/io"), Path("/proc/self/status"), Path("/proc/self/clear_refs")
_MEMINFO = Path("/proc/meminfo")
_PEAK = "5"
"""What resets the peak of the resident set, see proc(5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drives:
    """Bytes that this process moved from and to drives since it began, by the kernel's count."""

    read_bytes: int
    written_bytes: int


def drives_so_far() -> Drives:
    """Return the kernel's counts; zeros where it does not tell."""
    try:
        lines = dict(line.split(": ") for line in _IO.read_text().splitlines())
    except OSError:
        return Drives(read_bytes=0, written_bytes=0)
    return Drives(read_bytes=int(lines["read_bytes"]), written_bytes=int(lines["write_bytes"]))


def resident_bytes() -> int:
    """Return the resident set of this process now."""
    return _kibibytes(_STATUS, "VmRSS")


def peak_resident_bytes() -> int:
    """Return its peak since `forget_peak`, exact: the kernel keeps it."""
    return _kibibytes(_STATUS, "VmHWM")


def available_bytes() -> int:
    """Return the memory that the system could give a process now without swapping."""
    return _kibibytes(_MEMINFO, "MemAvailable")


def forget_peak() -> None:
    """Let the peak begin anew at what is resident now."""
    _CLEAR.write_text(_PEAK)


def _kibibytes(file: Path, key: str) -> int:
    for line in file.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0
