"""The Timeline: a Trace on a Machine, as slices that touch extents.

A *slice* is the smallest step of work whose operands must be resident together. An *extent* is a run of pages of one
storage that the step always touches together. An *access* is (slice, extent). Everything is a numpy column; per-slice
lists are stored flat with a pointer array (`ptr[t]:ptr[t + 1]` are the rows of slice t).
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.producers import Producers, no_producers


@dataclass(frozen=True, slots=True, kw_only=True)
class Slices:
    """One row per slice, in execution order."""

    op: NDArray[np.int32]
    """Operator of the trace that it is a part of."""
    phase: NDArray[np.int8]
    """A `tmtrain.trace.Phase`."""
    duration_s: NDArray[np.float64]
    """The longest of matrix, vector and fast-memory time, were everything resident."""
    matrix_flops: NDArray[np.float64]
    vector_ops: NDArray[np.float64]
    fast_bytes: NDArray[np.float64]
    """Traffic between fast memory and the chip."""
    sram_bytes: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """One row per extent; the extents of a storage are consecutive and cover it from its first page on."""

    storage: NDArray[np.int32]
    first_page: NDArray[np.int64]
    pages: NDArray[np.int64]
    role: NDArray[np.int8]
    persistent: NDArray[np.bool_]
    """Content survives the end of the step."""

    def __len__(self) -> int:
        return len(self.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accesses:
    """One row per (slice, extent), ordered by slice."""

    ptr: NDArray[np.int64]
    """Shape (slices + 1,)."""
    extent: NDArray[np.int32]
    needs_content: NDArray[np.bool_]
    """The bytes that were there before are used: false where all of them are overwritten or new."""
    writes: NDArray[np.bool_]
    """What is there afterwards is new, also in the first access after birth: true wherever `needs_content` is not."""
    next_slice: NDArray[np.int32]
    """Slice of the next access of the same extent, cyclic (<= own slice means: in the next step); -1 if its
    content is never used again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frees:
    """Extents that the framework frees, ordered by slice: gone after slice t."""

    ptr: NDArray[np.int64]
    extent: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """One step on one machine with one capacity of the fast tier."""

    trace_fingerprint: str
    machine: str
    machine_fingerprint: str
    page_bytes: int
    fast_bytes: int
    """Capacity of the fast tier, whole pages."""
    footprint_bytes: int
    samples: int
    operator_names: tuple[str, ...]
    """Of the trace, for messages and pictures."""
    slices: Slices
    extents: Extents
    accesses: Accesses
    frees: Frees
    producers: Producers = field(default_factory=no_producers)
    """What can be recomputed."""

    @property
    def fast_pages(self) -> int:
        """Capacity of the fast tier in pages."""
        return self.fast_bytes // self.page_bytes

    @property
    def compute_s(self) -> float:
        """Seconds of one step with everything resident."""
        return float(self.slices.duration_s.sum())
