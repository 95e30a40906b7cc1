"""What happened in the fast tier so far."""

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """What happened so far; each number is counted where it happens, and by the training thread alone."""

    misses: int = 0
    """Blocks that an operator had to wait for because nobody had fetched them."""
    evictions: int = 0
    """Blocks that left because room was short, not because somebody had planned it."""
    stall_s: float = 0.0
    """Waited for the drive, by the training thread."""
    peak_bytes: int = 0
    """The most that was in memory or under way."""
