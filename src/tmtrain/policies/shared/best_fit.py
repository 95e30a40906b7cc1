"""A best-fit allocator of pages: address space for paging policies, and for the memory of a real run."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field


@dataclass(slots=True)
class BestFit:
    """A best-fit allocator over one growing range of pages; freed neighbours merge.

    >>> space = BestFit()
    >>> space.take(4), space.take(2)
    (0, 4)
    >>> space.give(0, 4)
    >>> space.take(1), space.take(3), space.top
    (0, 1, 6)
    """

    top: int = 0
    """Pages of address space used so far."""
    _by_size: list[tuple[int, int]] = field(default_factory=list)
    _end_of: dict[int, int] = field(default_factory=dict)
    _start_of: dict[int, int] = field(default_factory=dict)

    def take(self, pages: int) -> int:
        """Return the first page of the smallest free range that fits."""
        index = bisect_left(self._by_size, (pages, -1))
        if index == len(self._by_size):
            self.top += pages
            return self.top - pages
        size, start = self._by_size[index]
        self._remove(start, start + size)
        if size > pages:
            self._add(start + pages, start + size)
        return start

    def give(self, start: int, pages: int) -> None:
        """Free a range that `take` returned."""
        end = start + pages
        if end in self._end_of:
            after = self._end_of[end]
            self._remove(end, after)
            end = after
        if start in self._start_of:
            before = self._start_of[start]
            self._remove(before, start)
            start = before
        self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        insort(self._by_size, (end - start, start))
        self._end_of[start], self._start_of[end] = end, start

    def _remove(self, start: int, end: int) -> None:
        del self._by_size[bisect_left(self._by_size, (end - start, start))]
        del self._end_of[start], self._start_of[end]
