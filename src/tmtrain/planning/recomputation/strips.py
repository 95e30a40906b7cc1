"""Groups of producers that share their rows, and the strips into which their rows are cut."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from tmtrain.planning.recomputation.candidates import RowRange
from tmtrain.planning.recomputation.ids import BlockId, ProducerId, StorageId
from tmtrain.planning.recomputation.step import RecomputableStep

MOST_ROWS = 256
"""Finer rows round no better."""


def find_groups(
    step: RecomputableStep, block: BlockId, producers: Sequence[ProducerId]
) -> list[list[ProducerId]]:
    """Part producers into groups whose rows are the same rows, by first member.

    Two producers are tied by a storage of the block that one makes and the other reads, rows following on both sides.
    """
    parent = {producer: producer for producer in producers}
    for producer in producers:
        for storage, follows in step.uses[producer].inputs.items():
            maker = step.maker.get(storage)
            if maker is not None and maker in parent and follows and step.is_inside(storage, block):
                parent[_root(parent, producer)] = _root(parent, maker)
    groups: dict[ProducerId, list[ProducerId]] = defaultdict(list)
    for producer in producers:
        groups[_root(parent, producer)].append(producer)
    return list(groups.values())


def _root(parent: dict[ProducerId, ProducerId], producer: ProducerId) -> ProducerId:
    """Return the representative of a producer's group; the way to it gets shorter for the next one."""
    while parent[producer] != producer:
        parent[producer] = producer = parent[parent[producer]]
    return producer


def find_strips(
    step: RecomputableStep, group: Sequence[ProducerId], storages: Sequence[StorageId]
) -> list[RowRange]:
    """Cut the rows of a group where an extent of its `storages` ends; one strip of all rows where they do not nest."""
    count = _count_rows(step, group)
    edges = {0, count}
    for storage in storages:
        edges |= _row_edges(step, storage, count)
    rows = [RowRange(first=a, end=b, count=count) for a, b in pairwise(sorted(edges))]
    if all(_nests(step, storage, rows) for storage in storages):
        return rows
    return [RowRange(first=0, end=count, count=count)]


def _count_rows(step: RecomputableStep, group: Sequence[ProducerId]) -> int:
    """Return the most rows into which all members can be cut, none finer than a page of a result."""
    pages = [step.pages(storage) for producer in group for storage in step.uses[producer].results]
    trips = int(np.gcd.reduce(step.timeline.producers.rows[np.array(group)]))
    return _largest_divisor(trips, most=min([MOST_ROWS, *pages]))


def _largest_divisor(trips: int, *, most: int) -> int:
    """Return the largest divisor of `trips` up to `most`: rows finer than pages could not be cut.

    >>> _largest_divisor(16384, most=100), _largest_divisor(12, most=5), _largest_divisor(7, most=5)
    (64, 4, 1)
    """
    return max(rows for rows in range(1, most + 1) if trips % rows == 0)


def _row_edges(step: RecomputableStep, storage: StorageId, count: int) -> set[int]:
    """Return the rows at which an extent of a storage begins on a page where a row begins too."""
    pages = step.pages(storage)
    rows = [(run.first, -(-run.first * count // pages)) for run in list(step.runs(storage))[1:]]
    return {row for first, row in rows if pages * row // count == first}


def _nests(step: RecomputableStep, storage: StorageId, rows: Sequence[RowRange]) -> bool:
    """Whether each extent lies within a strip, or each strip that it meets lies within it."""
    pages = step.pages(storage)
    edges = {pages * strip.first // strip.count for strip in rows} | {pages}
    for run in step.runs(storage):
        divided = any(run.first < edge < run.end for edge in edges)
        if divided and not (run.first in edges and run.end in edges):
            return False
    return True
