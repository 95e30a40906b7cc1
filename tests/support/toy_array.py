"""A systolic array register by register, cycle by cycle: an independent judge of the closed forms.

It multiplies real numbers, so a schedule in which registers collide gives a wrong product. Nothing here knows a formula: a
tile starts when its ports and registers are free, and the clock stops when the last sum has arrived.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


@dataclass(kw_only=True)
class ToyRun:
    """What happened."""

    product: Matrix
    cycles: int = 0
    streamed_reads: int = 0
    """Elements that entered from the left."""
    other_reads: int = 0
    """Elements that entered from the top: what is loaded, or the second stream."""
    writes: int = 0


def run_toy(a: Matrix, b: Matrix, *, rows: int, columns: int, dataflow: str, pipelined: bool) -> ToyRun:
    """Multiply `a` by `b` and count."""
    if dataflow == "output":
        return _output_stationary(a, b, rows, columns, pipelined)
    if dataflow == "weight":
        return _weight_stationary(a, b, rows, columns, pipelined)
    done = _weight_stationary(b.T, a.T, rows, columns, pipelined)  # (B^T A^T)^T: A is what stays
    done.product = done.product.T
    return done


@dataclass(kw_only=True)
class _Tile:
    k0: int
    n0: int
    weights: Matrix
    """Padded to the array."""
    load_start: int
    start: int
    missing: int
    """Sums that have not left yet; what does not fill the array passes through it all the same."""


def _weight_stationary(a: Matrix, b: Matrix, R: int, C: int, pipelined: bool) -> ToyRun:
    (M, K), N = a.shape, b.shape[1]
    run = ToyRun(product=np.zeros((M, N)))
    waiting = [(k0, n0) for k0 in range(0, K, R) for n0 in range(0, N, C)]
    tiles: list[_Tile] = []
    shadow, active = np.zeros((R, C)), np.zeros((R, C))
    moving, sums = np.zeros((R, C)), np.zeros((R, C))
    tags = np.full((R, C, 2), -1)  # tile and vector of what is in `moving`
    t = 0
    while waiting or tiles[-1].missing:
        if waiting and (not tiles or _may_load(tiles[-1], t, pipelined)):
            k0, n0 = waiting.pop(0)
            padded = np.zeros((R, C))
            cut = b[k0 : k0 + R, n0 : n0 + C]
            padded[: cut.shape[0], : cut.shape[1]] = cut
            run.other_reads += cut.size
            start = max(t + R, tiles[-1].start + M if tiles else 0)
            tiles.append(_Tile(k0=k0, n0=n0, weights=padded, load_start=t, start=start, missing=M * C))
        entering, entering_tags = _from_the_left(a, tiles, t, R, run)
        moving = np.hstack([entering[:, None], moving[:, :-1]])
        tags = np.concatenate([entering_tags[:, None], tags[:, :-1]], axis=1)
        first = tags[:, :, 1] == 0  # the first vector of a tile makes its weights the active ones
        active = np.where(first, shadow, active)
        sums = np.vstack([np.zeros(C), sums[:-1]]) + moving * active
        shadow = _shifted_down(shadow, tiles, t)
        for c in range(C):
            tile, vector = tags[-1, c]
            tiles[tile].missing -= tile >= 0
            if tile >= 0 and tiles[tile].n0 + c < N:
                run.product[vector, tiles[tile].n0 + c] += sums[-1, c]
                run.writes += 1
        t += 1
    if pipelined:  # the first tile loads behind the operator before; the last sum goes into the accumulators
        run.cycles = t - tiles[0].start + 1
    else:
        run.cycles = t
    return run


def _may_load(last: _Tile, t: int, pipelined: bool) -> bool:
    """Pipelined: once the shadow registers have been taken over; serial: once the array is empty."""
    return t >= last.start if pipelined else last.missing == 0


def _from_the_left(
    a: Matrix, tiles: list[_Tile], t: int, R: int, run: ToyRun
) -> tuple[Matrix, NDArray[np.int64]]:
    """Row r gets what row 0 got r cycles before."""
    values, tags = np.zeros(R), np.full((R, 2), -1)
    for r in range(R):
        for index, tile in enumerate(tiles):
            vector = t - r - tile.start
            if 0 <= vector < a.shape[0]:
                tags[r] = index, vector
                if tile.k0 + r < a.shape[1]:
                    values[r] = a[vector, tile.k0 + r]
                    run.streamed_reads += 1
    return values, tags


def _shifted_down(shadow: Matrix, tiles: list[_Tile], t: int) -> Matrix:
    """Column c loads c cycles after column 0, the last row first; a register holds still until the load reaches it."""
    R, C = shadow.shape
    after = shadow.copy()
    for c in range(C):
        for tile in tiles:
            step = t - c - tile.load_start
            if 0 <= step < R:
                after[1 : step + 1, c] = shadow[:step, c]
                after[0, c] = tile.weights[R - 1 - step, c]
    return after


def _output_stationary(a: Matrix, b: Matrix, R: int, C: int, pipelined: bool) -> ToyRun:
    (M, K), N = a.shape, b.shape[1]
    run = ToyRun(product=np.zeros((M, N)))
    waiting = [(m0, n0) for m0 in range(0, M, R) for n0 in range(0, N, C)]
    starts: list[tuple[int, int, int]] = []
    right, down, sums = np.zeros((R, C)), np.zeros((R, C)), np.zeros((R, C))
    missing, t = 0, 0
    while waiting or missing:
        if waiting and (not starts or (t >= starts[-1][0] + K if pipelined else missing == 0)):
            starts.append((t, *waiting.pop(0)))
            missing += R * C
        left, top = np.zeros(R), np.zeros(C)
        for start, m0, n0 in starts:
            for r in range(R):
                if 0 <= t - r - start < K and m0 + r < M:
                    left[r] = a[m0 + r, t - r - start]
                    run.streamed_reads += 1
            for c in range(C):
                if 0 <= t - c - start < K and n0 + c < N:
                    top[c] = b[t - c - start, n0 + c]
                    run.other_reads += 1
        right = np.hstack([left[:, None], right[:, :-1]])
        down = np.vstack([top, down[:-1]])
        for start, m0, n0 in starts:
            for r, c in np.ndindex(R, C):
                step = t - r - c - start
                if step == 0:
                    sums[r, c] = 0.0
                if 0 <= step < K:
                    sums[r, c] += right[r, c] * down[r, c]
                if step == K - 1:
                    missing -= 1
                    if m0 + r < M and n0 + c < N:
                        run.product[m0 + r, n0 + c] = sums[r, c]
                        run.writes += 1
        t += 1
    run.cycles = t
    return run
