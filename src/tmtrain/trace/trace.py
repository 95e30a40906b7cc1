"""The Trace: what one steady training step does, free of any hardware and of torch.

Three tables of numpy columns. *Storages* are the pieces of memory that live during the step; *operators* are
the ATen calls in order; *operands* say which operator touches which part of which storage. Times are operator
indices.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Role(IntEnum):
    """What a storage is for."""

    PARAMETER = 0
    GRADIENT = 1
    OPTIMIZER_STATE = 2
    ACTIVATION = 3
    """Written in forward or loss, read in backward."""
    BUFFER = 4
    INPUT = 5
    """From outside the model: the batch, its labels."""
    TEMPORARY = 6
    """Everything else: born and dead within one phase."""


class Phase(IntEnum):
    """Which part of the step an operator belongs to."""

    DATA = 0
    """Before the root module is called."""
    FORWARD = 1
    LOSS = 2
    """After the root module returned, before backward."""
    BACKWARD = 3
    """Under autograd, recomputation of checkpointed modules included."""
    OPTIMIZER = 4
    """From the first optimizer call to the end of the step, and gradient clipping before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Storages:
    """One row per storage that is alive at some time of the step.

    A storage is alive while operators ``birth_op <= t < death_op`` run. A persistent one (parameters,
    optimizer state, what the user holds across steps) has ``birth_op = 0`` and ``death_op = number of
    operators``. One that is born in this step and dies in the next (a gradient freed by ``zero_grad`` at the
    start of the step) has ``death_op <= birth_op``. It wraps round the end of the step. One that outlives
    even the birth of its successor (``out = model(batch)`` frees the old ``out`` when the new one is there)
    has two rows: this step's, until the end, and ``NAME@previous``, from the start until it dies.
    """

    name: tuple[str, ...]
    """Explicit and stable: the names of parameters and buffers, ``grad:NAME``, ``state:NAME.exp_avg``,
    ``input#i``, and ``op#index.result`` for the rest: ``mm#12.0`` is the first result of operator 12."""
    bytes: NDArray[np.int64]
    dtype: tuple[str, ...]
    """Element type of the tensor that created it, e.g. "bfloat16"."""
    role: NDArray[np.int8]
    """A `Role`."""
    persistent: NDArray[np.bool_]
    birth_op: NDArray[np.int32]
    death_op: NDArray[np.int32]
    module: tuple[str, ...]
    """Path of the module in which it was allocated, or that owns it; "" for the root."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """One row per ATen call, in execution order."""

    name: tuple[str, ...]
    """Qualified overload, e.g. "aten.mm.default"."""
    module: tuple[str, ...]
    phase: NDArray[np.int8]
    """A `Phase`."""
    flops: NDArray[np.int64]
    """Multiply and add count 1 each; 0 where torch's FLOP registry has no formula (elementwise operators)."""
    batch: NDArray[np.int64]
    """Independent matrix products (attention: batch x heads; convolution: groups); 0 if batch, m, n, k do not
    apply."""
    m: NDArray[np.int64]
    """Rows of the output (convolution: batch x output positions; attention: queries). Backward: the
    same as forward."""
    n: NDArray[np.int64]
    """Columns of the output (convolution: output channels per group; attention: keys)."""
    k: NDArray[np.int64]
    """Inner dimension (convolution: input channels per group x kernel positions; attention: head dimension).

    A transposed convolution is the product it computes: input positions x (output channels x kernel
    positions)."""
    is_view: NDArray[np.bool_]
    """Touches no bytes: the result shares its input's storage."""
    is_pointwise: NDArray[np.bool_]
    """Result element i depends on element i of each (broadcast) operand only (torch's tag ``pointwise``)."""
    is_random: NDArray[np.bool_]
    """Draws from a random generator (tag ``nondeterministic_seeded``; a dropout probability of 0 draws
    nothing)."""
    duration_s: NDArray[np.float64] | None = None
    """Seconds as measured, in a step from another program (`tmtrain.importing`) that brings its times along; None: the
    machine's model says them."""

    def __len__(self) -> int:
        return len(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operands:
    """One row per tensor argument or result of an operator, ordered by operator; views have rows too."""

    op: NDArray[np.int32]
    position: NDArray[np.int16]
    """Index of the schema argument; results follow at ``RESULT + index``."""
    item: NDArray[np.int16]
    """Index inside a list argument (foreach operators, cat), else 0."""
    storage: NDArray[np.int32]
    reads: NDArray[np.bool_]
    """Uses the bytes that were there: false for views and for what is overwritten (``zero_``, ``copy_``,
    out=)."""
    writes: NDArray[np.bool_]
    """From the schema's alias information, and every newly allocated result but those of ``aten.empty*``.

    A view, and the result of an operator that works in place, has a row that neither reads nor writes."""
    allocates: NDArray[np.bool_]
    """This operator brings the storage into being."""
    offset_bytes: NDArray[np.int64]
    """Where in the storage the touched range starts."""
    span_bytes: NDArray[np.int64]
    """Length of the range from the first to the last touched byte."""
    itemsize: NDArray[np.int8]
    shape: tuple[tuple[int, ...], ...]
    stride: tuple[tuple[int, ...], ...]
    """In elements."""

    RESULT = 1000

    def __len__(self) -> int:
        return len(self.op)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One steady training step of one model.

    Example:
        >>> from tmtrain.trace import example_trace
        >>> trace = example_trace()
        >>> len(trace.operators), trace.footprint_bytes
        (10, 28676)
    """

    model: str
    samples: int
    """Samples (sequences, images) in the batch of one step."""
    options: dict[str, Any]
    """What it was captured with: dtype, sequence length, optimizer, attention, checkpointing, versions; JSON only."""
    storages: Storages
    operators: Operators
    operands: Operands

    @property
    def footprint_bytes(self) -> int:
        """Peak of the bytes alive at once: the fast memory that a step without a second tier needs."""
        live = self.live_bytes()
        return int(live.max()) if len(live) else 0

    def live_bytes(self) -> NDArray[np.int64]:
        """Return the bytes alive while each operator runs, shape (operators,)."""
        s, n = self.storages, len(self.operators)
        wraps = (s.death_op <= s.birth_op) & ~s.persistent
        change = np.zeros(n + 1, np.int64)
        np.add.at(change, s.birth_op, s.bytes)
        np.subtract.at(change, s.death_op, s.bytes)
        # Those that wrap are alive at the start as well.
        change[0] += int(s.bytes[wraps].sum())
        return np.cumsum(change)[:n]
