"""Contiguous memory of the tensor-level simulator: first fit in pages, from either end."""

from bisect import bisect_left, insort


class TensorMemory:
    """Which tensor lies where.

    >>> memory = TensorMemory(10)
    >>> memory.take(7, 4, right=True), memory.take(8, 7, right=False), memory.largest_hole()
    (True, False, 6)
    """

    def __init__(self, pages: int) -> None:
        self._holes: list[tuple[int, int]] = [(0, pages)]
        self._runs: dict[int, tuple[int, int]] = {}

    def __contains__(self, tensor: int) -> bool:
        return tensor in self._runs

    def largest_hole(self) -> int:
        """Return the pages of the largest hole."""
        return max((end - start for start, end in self._holes), default=0)

    def take(self, tensor: int, pages: int, *, right: bool) -> bool:
        """Give `tensor` the first hole that fits from the low, or from the high (`right`), end; False if none does."""
        order = range(len(self._holes) - 1, -1, -1) if right else range(len(self._holes))
        for index in order:
            start, end = self._holes[index]
            if end - start >= pages:
                self._runs[tensor] = (end - pages, end) if right else (start, start + pages)
                rest = (start, end - pages) if right else (start + pages, end)
                self._holes[index : index + 1] = [rest] if rest[0] < rest[1] else []
                return True
        return False

    def give(self, tensor: int) -> None:
        """Free what `tensor` has; neighbouring holes merge."""
        start, end = self._runs.pop(tensor)
        index = bisect_left(self._holes, (start, end))
        if index < len(self._holes) and self._holes[index][0] == end:
            end = self._holes.pop(index)[1]
        if index > 0 and self._holes[index - 1][1] == start:
            start = self._holes.pop(index - 1)[0]
        insort(self._holes, (start, end))
