"""The cycle of least mean cost in a graph: Newton's method on the mean, Bellman and Ford for a cycle that beats it."""

import numpy as np
from numpy.typing import NDArray

_LOOK = 8
"""Rounds after which it is seen whether what pays has closed to a cycle."""
_ROUNDING = 1e-10
"""Relative to the dearest edge."""


class CycleGraph:
    """Edges sorted by where they go."""

    def __init__(self, source: NDArray[np.int64], target: NDArray[np.int64]) -> None:
        self._order = np.argsort(target, kind="stable")
        self._source, target = source[self._order], target[self._order]
        self._first = np.flatnonzero(np.diff(target, prepend=-1))
        self._heads = target[self._first]
        self._size = np.diff(self._first, append=len(target))
        self._nodes = int(max(source.max(), target[-1])) + 1

    def least_mean(
        self, cost: NDArray[np.float64], count: NDArray[np.int64]
    ) -> tuple[float, NDArray[np.int64]]:
        """Return the least sum of `cost` over the sum of `count` of any cycle, and its edges.

        What counts nothing must cost nothing or more, and some cycle must count something.
        """
        cost, count = cost[self._order], count[self._order]
        mean, best = float(cost.sum()) + 1.0, np.zeros(0, np.int64)
        while (cycle := self._negative_cycle(cost - mean * count)) is not None:
            best, mean = cycle, float(cost[cycle].sum() / count[cycle].sum())
        return mean, self._order[best]

    def _negative_cycle(self, cost: NDArray[np.float64]) -> NDArray[np.int64] | None:
        potential, by = np.zeros(self._nodes), np.full(self._nodes, -1)
        slack = _ROUNDING * float(np.abs(cost).max())
        rounds = 0
        while True:
            reached = potential[self._source] + cost
            least = np.minimum.reduceat(reached, self._first)
            better = least < potential[self._heads] - slack
            if not better.any():
                return None
            chosen = np.flatnonzero(reached == np.repeat(least, self._size))
            edge = np.empty(self._nodes, np.int64)
            edge[np.repeat(self._heads, self._size)[chosen]] = chosen
            heads = self._heads[better]
            potential[heads], by[heads] = least[better], edge[heads]
            rounds += 1
            if rounds % _LOOK == 0 and (cycle := self._closed(by)) is not None:
                return cycle

    def _closed(self, by: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """Return the edges of a cycle in which each node was reached `by` the one before."""
        before = np.where(by >= 0, self._source[by], -1)
        far = before
        for _ in range(self._nodes.bit_length()):
            far = np.where(far >= 0, far[far], -1)
        if (far < 0).all():
            return None
        node = start = int(far.max())
        edges: list[int] = []
        while not edges or node != start:
            edges.append(int(by[node]))
            node = int(before[node])
        return np.array(edges[::-1])
