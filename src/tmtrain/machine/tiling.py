"""How a matrix product is cut to pass through on-chip SRAM, and what that moves to and from fast memory.

Legend: a product of M x K activations by K x N weights, in tiles of m x n x k. That makes ceil(M/m) ceil(N/n) ceil(K/k)
steps, each with a tile of activations, one of weights and one of sums in SRAM.

Note [Loop order]: a tile stays while the steps that follow need the same one. So the matrix that the innermost loop does
not index crosses once: with the innermost loop along n, the activations, each tile of which meets all its weights. The
other two cross once per step of the loop that does not index them. Which of the outer loops comes first is immaterial,
except where the innermost loop has one step only. Then the same tiling counts under the next loop's name.

Note [Sums]: a tile of sums that leaves unfinished is written, and read back at its next step, in full precision. A finished
one is written once, as an operand of whatever follows.

Note [Page order]: the tiling also says in which order pages of fast memory are touched. The matrix that the innermost
loop does not index is passed through once, tile after tile. Each of the other two is passed through from end to end once
per step of the loop that does not index it. That is a cycle, the order in which LRU keeps nothing unless everything fits.

All of this happens within a slice, whose operands are resident together. It costs bytes and joules of fast memory, but
changes neither residency nor what moves between the tiers.

Note [Double buffering]: while a step computes, the tiles of the next one come in. So SRAM holds every tile twice, except of
a matrix that is one tile. The traffic then hides behind compute, or compute behind traffic.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.machine.arrays.traffic import OPERAND_BYTES, PARTIAL_SUM_BYTES
from tmtrain.machine.machine import Compute

Loop: TypeAlias = Literal["m", "n", "k"]
_LOOPS: tuple[Loop, Loop, Loop] = ("m", "n", "k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scratchpad:
    """SRAM as a tiling sees it."""

    capacity_bytes: int
    buffers: int = 2
    """Copies of each tile. Note [Double buffering]."""
    granule: tuple[int, int, int] = (1, 1, 1)
    """Tiles are multiples of this in m, n and k, but for what is left at the end."""
    operand_bytes: int = OPERAND_BYTES
    sum_bytes: int = PARTIAL_SUM_BYTES

    @classmethod
    def of(cls, compute: Compute) -> "Scratchpad":
        """Return the SRAM of a machine: whole tiles of its arrays, so that tiling costs no cycles but drains."""
        R, C = compute.array_rows, compute.array_columns
        columns = {"weight": "n", "input": "m", "output": "n"}[compute.dataflow]
        m, n, k = (C if loop == columns else R for loop in ("m", "n", "k"))
        return cls(capacity_bytes=compute.sram_bytes, granule=(m, n, k))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """A product cut into tiles, and the bytes that it moves between fast memory and SRAM, all equal products together."""

    m: int
    n: int
    k: int
    innermost: Loop
    """Note [Loop order]."""
    used_bytes: int
    """Of SRAM."""
    activation_bytes: int
    weight_bytes: int
    result_bytes: int
    """Written, and partial sums written and read back."""

    @property
    def total_bytes(self) -> int:
        """Everything that crosses."""
        return self.activation_bytes + self.weight_bytes + self.result_bytes


def compulsory_bytes(*, batch: int, m: int, n: int, k: int, operand_bytes: int = OPERAND_BYTES) -> int:
    """Return the least that any tiling moves: every operand once.

    >>> compulsory_bytes(batch=1, m=2, n=3, k=4)
    52
    """
    return operand_bytes * batch * (m * k + k * n + m * n)


def best_tiling(*, scratchpad: Scratchpad, batch: int, m: int, n: int, k: int) -> Tiling:
    """Return the tiling that moves the fewest bytes; of several such, one with the fewest steps.

    All tile sizes that differ in their number of steps are tried, in every order of loops. Equal products follow one
    another and share nothing.

    Raises:
        InputError: a size is below 1, or SRAM does not hold the smallest tiles.

    >>> from tmtrain.machine import load_machine
    >>> tpu = Scratchpad.of(load_machine("v4-slc").compute)
    >>> best = best_tiling(scratchpad=tpu, batch=1, m=65536, n=16384, k=16384)
    >>> (best.m, best.n, best.k, best.innermost, round(best.total_bytes / 1e9, 2))
    (4736, 4096, 256, 'k', 18.25)
    """
    _check_sizes(batch=batch, m=m, n=n, k=k)
    sizes = np.array([m, n, k])
    tiles = _all_tiles(sizes, granule=scratchpad.granule)
    steps = -(-sizes[:, None] // tiles)
    used = _used_bytes(tiles, steps, scratchpad=scratchpad)
    fits = _fitting(used, scratchpad.capacity_bytes, product=f"{m} x {n} x {k}")
    moved = batch * _moved_bytes(sizes, steps[:, fits], scratchpad=scratchpad)
    order, column = _least(moved.sum(axis=1), steps[:, fits].prod(axis=0))
    chosen = fits[column]
    tile_m, tile_n, tile_k = tiles[:, chosen].tolist()
    activations, weights, results = moved[order, :, column].tolist()
    return Tiling(
        m=tile_m,
        n=tile_n,
        k=tile_k,
        innermost=_LOOPS[order],
        used_bytes=int(used[chosen]),
        activation_bytes=activations,
        weight_bytes=weights,
        result_bytes=results,
    )


def fused_attention_crossings(*, scratchpad: Scratchpad, queries: int, keys: int, head_size: int) -> int:
    """Return how often keys and values cross in attention whose scores never leave SRAM; queries and result cross once.

    Queries stay in tiles, as large as fit beside their sums, while keys and values stream by in tiles of the granule
    (Dao, FlashAttention-2, arXiv 2307.08691, section 3.1). Keys and values that fit as a whole stay. Known limitation:
    backward is taken to cross as often.

    Raises:
        InputError: SRAM does not hold the smallest tiles.

    >>> from tmtrain.machine import load_machine
    >>> small = Scratchpad.of(load_machine("znvme-g10").compute)
    >>> [fused_attention_crossings(scratchpad=small, queries=n, keys=n, head_size=128) for n in (2048, 2**17)]
    [1, 11]
    """
    grain_m, grain_n, _ = scratchpad.granule
    item, total, room = scratchpad.operand_bytes, scratchpad.sum_bytes, scratchpad.capacity_bytes
    streamed = 2 * scratchpad.buffers * item * min(grain_n, keys) * head_size
    # The query and its result, and a row of scores: those of one tile of keys alone, since the sums are rescaled.
    per_query = head_size * (item + total) + total * min(grain_n, keys)
    all_keys = 2 * item * keys * head_size + scratchpad.buffers * min(grain_m, queries) * per_query
    # Whichever side stays, the other crosses once. Queries that are one tile need no second buffer.
    if all_keys <= room or streamed + queries * per_query <= room:
        return 1
    tile = (room - streamed) // (scratchpad.buffers * per_query) // grain_m * grain_m
    if tile < 1:
        raise InputError(
            f"the smallest tiles of attention with heads of {head_size} take "
            f"{streamed + scratchpad.buffers * grain_m * per_query} B of SRAM, there are {room} B: "
            "give the machine more SRAM or smaller arrays"
        )
    return -(-queries // tile)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise InputError(f"{name} of a product to be tiled is {size}: give at least 1")


def _fitting(used: NDArray[np.int64], capacity_bytes: int, *, product: str) -> NDArray[np.intp]:
    """Return which tilings fit into SRAM."""
    fits = np.flatnonzero(used <= capacity_bytes)
    if not len(fits):
        raise InputError(
            f"the smallest tiles of a product of {product} take {used.min()} B of SRAM, there are "
            f"{capacity_bytes} B: give the machine more SRAM or smaller arrays"
        )
    return fits


def _all_tiles(sizes: NDArray[np.int64], *, granule: tuple[int, int, int]) -> NDArray[np.int64]:
    """Return m, n and k of all tilings that differ in steps, shape (3, tilings)."""
    per_loop = [_tile_sizes(size, grain) for size, grain in zip(sizes.tolist(), granule, strict=True)]
    return np.stack([axis.ravel() for axis in np.meshgrid(*per_loop, indexing="ij")])


def _tile_sizes(size: int, granule: int) -> NDArray[np.int64]:
    """Return the smallest tile for each number of steps, in whole granules."""
    granules = -(-size // granule)
    # Of all sizes with as many steps the smallest: it moves as much and takes least SRAM. Some 2 sqrt(granules) differ.
    per_tile = np.unique(-(-granules // np.arange(1, granules + 1)))
    return np.minimum(per_tile * granule, size)


def _used_bytes(
    tiles: NDArray[np.int64], steps: NDArray[np.int64], *, scratchpad: Scratchpad
) -> NDArray[np.int64]:
    """Return the SRAM that each tiling takes. Note [Double buffering]."""
    m, n, k = tiles
    of_m, of_n, of_k = steps
    copies = scratchpad.buffers
    # A matrix is indexed by two of the loops, and has as many tiles as their steps.
    activations = m * k * np.minimum(of_m * of_k, copies)
    weights = k * n * np.minimum(of_k * of_n, copies)
    sums = m * n * np.minimum(of_m * of_n, copies)
    return scratchpad.operand_bytes * (activations + weights) + scratchpad.sum_bytes * sums


def _moved_bytes(
    sizes: NDArray[np.int64], steps: NDArray[np.int64], *, scratchpad: Scratchpad
) -> NDArray[np.int64]:
    """Return the bytes of activations, weights and results, shape (innermost loop, matrix, tilings). Note [Loop order]."""
    M, N, K = sizes.tolist()
    of_m, of_n, of_k = steps
    once = np.ones_like(of_m)
    # Rows: the innermost loop is m, n, k. Columns: activations (m, k), weights (k, n), sums (m, n). Each crosses once
    # per step of the loop that does not index it, and once in all where that loop is innermost.
    crossings = np.array([[of_n, once, of_k], [once, of_m, of_k], [of_n, of_m, once]])
    activations = scratchpad.operand_bytes * M * K * crossings[:, 0]
    weights = scratchpad.operand_bytes * K * N * crossings[:, 1]
    unfinished = 2 * scratchpad.sum_bytes * (crossings[:, 2] - 1)  # Note [Sums]
    return np.stack([activations, weights, M * N * (scratchpad.operand_bytes + unfinished)], axis=1)


def _least(cost: NDArray[np.int64], steps: NDArray[np.int64]) -> tuple[int, int]:
    """Return where `cost` is least, shape (loops, tilings), and of equals where `steps` are fewest."""
    loops, tilings = np.nonzero(cost == cost.min())
    best = steps[tilings].argmin()
    return int(loops[best]), int(tilings[best])
