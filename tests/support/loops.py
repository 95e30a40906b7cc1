"""Run the slices of an operator on numbers: an operand is a paged memory of which a slice sees its touched pages only."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from tmtrain.lowering.loops import LoopNest, loop_nests
from tmtrain.lowering.slicing import Slice, choose_cuts, slices_of
from tmtrain.trace import Trace

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
UNKNOWN = 10**12
"""Stands in memory that a slice may not count on; any result that used it is far off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One slice of a nest, with the share of each loop that it covers."""

    piece: Slice
    nest: LoopNest
    index: tuple[int, ...]
    cuts: tuple[int, ...]
    number: int
    """Of the pass."""

    def span(self, loop: int) -> slice:
        """Iterations of `loop` that this slice runs."""
        trip, cuts, i = self.nest.trips[loop], self.cuts[loop], self.index[loop]
        return slice(trip * i // cuts, trip * (i + 1) // cuts)


def runs_of(trace: Trace, *, page_bytes: int, limit_pages: int) -> Iterator[Run]:
    """Cut the one operator of `trace` and yield its slices in order."""
    (nest,) = loop_nests(trace, 0, range(len(trace.operands.op)))
    cuts = choose_cuts(nest, trace.operands, page_bytes=page_bytes, limit_pages=limit_pages)
    passes = nest.passes if prod(cuts) > 1 else 1
    order = product(range(passes), product(*(range(c) for c in cuts)))
    pieces = slices_of(nest, trace.operands, cuts=cuts, page_bytes=page_bytes)
    for (number, index), piece in zip(order, pieces, strict=True):
        yield Run(piece=piece, nest=nest, index=index, cuts=cuts, number=number)


class Paged:
    """The operands of one operator as memories of integers, element by element."""

    def __init__(self, trace: Trace, values: dict[int, IntArray], *, page_bytes: int) -> None:
        self._trace, self._page_bytes = trace, page_bytes
        self.memory: dict[int, IntArray] = {}
        for row, shape in enumerate(trace.operands.shape):
            elements = int(trace.operands.span_bytes[row]) // int(trace.operands.itemsize[row])
            self.memory[row] = np.full(elements, UNKNOWN, np.int64)
            if row in values:
                self.view(self.memory[row], row)[...] = values[row].reshape(shape)

    def view(self, memory: IntArray, row: int) -> IntArray:
        """Look at a memory as the tensor of `row`."""
        strides = tuple(8 * step for step in self._trace.operands.stride[row])
        return np.lib.stride_tricks.as_strided(memory, self._trace.operands.shape[row], strides)

    def run(self, run: Run, body: Callable[[dict[int, IntArray]], None]) -> None:
        """Let `body` compute on what the slice touches; nothing else can be read, nothing else is kept."""
        operands = self._trace.operands
        seen: dict[int, IntArray] = {}
        inside: dict[int, np.ndarray] = {}
        for touch in run.piece.touches:
            row, memory = touch.row, self.memory[touch.row]
            offset = np.arange(len(memory)) * int(operands.itemsize[row]) // self._page_bytes
            inside[row] = (offset >= touch.first_page) & (offset < touch.end_page)
            keeps = bool(operands.reads[row]) or touch.again
            seen[row] = np.where(inside[row] & keeps, memory, UNKNOWN)
        body({row: self.view(memory, row) for row, memory in seen.items()})
        for row, memory in seen.items():
            if operands.writes[row]:
                self.memory[row] = np.where(inside[row], memory, self.memory[row])

    def tensor(self, row: int) -> IntArray:
        """The whole tensor of `row`."""
        return self.view(self.memory[row], row)
