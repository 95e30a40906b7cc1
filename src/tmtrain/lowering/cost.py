"""What an operator costs on a machine: FLOPs, vector operations, fast-memory and SRAM traffic, seconds.

The model: an operator takes the longest of its matrix time, its vector time and its fast-memory time (they overlap);
every operand crosses fast memory once, those of products as often as the best tiling into SRAM makes them
(`tmtrain.lowering.crossings`). Matrix time is the systolic closed form of `tmtrain.machine.matrix_seconds`;
the vector unit does one operation per element of every operand of an operator without matrix product, or its FLOPs where
they are more, at the rate of its class (`tmtrain.lowering.vector`). Elementwise chains are fused where the machine says
so (`tmtrain.lowering.fusion`).
Where the machine has a measured time for an operator and its shapes, that counts (`tmtrain.machine.calibration`), and a
slice takes its share of it; joules remain the model's. Of a step with durations of its own (Note [Given durations] in
`tmtrain.lowering.verbs`) only pointwise operators are known to be vector work.

Known limitations: attention and convolution backward are priced as the number of equal products that their FLOPs say, of
the shape of the forward product; element sizes of vector operators do not change their rate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.crossings import crossing_ratios
from tmtrain.lowering.fusion import fused_bytes
from tmtrain.lowering.loops import base_name
from tmtrain.lowering.measured import measured_seconds
from tmtrain.lowering.vector import vector_class, vector_ops_per_s
from tmtrain.machine import Machine, fast_seconds, matrix_seconds, sram_bytes
from tmtrain.trace import Trace

FP32_BYTES = 4
MATRIX_DIMS = ("batch", "m", "n", "k")
"""Dimensions of a matrix product, in the order of all columns that have one for each."""
_FUSED_ATTENTION = ("_scaled_dot_product_", "_flash_attention_")
"""How the names of operators begin whose scores never leave the chip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceWork:
    """Cost of operators, or of slices of them; columns of equal length."""

    matrix_flops: NDArray[np.float64]
    vector_ops: NDArray[np.float64]
    fast_bytes: NDArray[np.float64]
    sram_bytes: NDArray[np.float64]
    duration_s: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """What whole operators ask of a machine: one row per operator of a trace, or of a choice of them."""

    matrix_flops: NDArray[np.float64]
    vector_ops: NDArray[np.float64]
    fast_bytes: NDArray[np.float64]
    """Between fast memory and SRAM, re-reads by tiles included, less what is fused."""
    operand_bytes: NDArray[np.float64]
    """Every operand once."""
    vector_class: NDArray[np.int8]
    """A `tmtrain.lowering.vector.VectorClass`."""
    dims: NDArray[np.float64]
    """`MATRIX_DIMS` of the matrix product, shape (rows, 4); 0 without one."""
    products: NDArray[np.float64]
    """How many such products the FLOPs are (backward: several)."""
    is_fp32: NDArray[np.bool_]
    measured_s: NDArray[np.float64]
    """Of the whole operator; NaN where the model decides."""

    def of(self, rows: NDArray[np.int32]) -> "Loads":
        """Return the rows chosen."""
        return Loads(
            matrix_flops=self.matrix_flops[rows],
            vector_ops=self.vector_ops[rows],
            fast_bytes=self.fast_bytes[rows],
            operand_bytes=self.operand_bytes[rows],
            vector_class=self.vector_class[rows],
            dims=self.dims[rows],
            products=self.products[rows],
            is_fp32=self.is_fp32[rows],
            measured_s=self.measured_s[rows],
        )


def no_loads() -> Loads:
    """Return the loads of no operators.

    >>> len(no_loads().products)
    0
    """
    nothing = np.zeros(0)
    return Loads(
        matrix_flops=nothing,
        vector_ops=nothing,
        fast_bytes=nothing,
        operand_bytes=nothing,
        vector_class=nothing.astype(np.int8),
        dims=nothing.reshape(0, len(MATRIX_DIMS)),
        products=nothing,
        is_fp32=nothing.astype(np.bool_),
        measured_s=nothing,
    )


def operator_bytes(trace: Trace) -> NDArray[np.float64]:
    """Return the bytes each operator reads and writes, shape (operators,): elements times size, broadcasts once."""
    return _per_operator(trace, _touched_bytes(trace))


def operator_loads(trace: Trace, *, machine: Machine) -> Loads:
    """Return what each operator of `trace` asks of `machine`.

    Raises:
        InputError: SRAM does not hold the smallest tiles of a product.
    """
    o = trace.operators
    sizes, itemsize = np.stack([o.batch, o.m, o.n, o.k], axis=1), _itemsize(trace)
    dims = sizes.astype(np.float64)
    is_attention = np.array([base_name(name).startswith(_FUSED_ATTENTION) for name in o.name], bool)
    ratios = crossing_ratios(sizes, itemsize=itemsize, is_attention=is_attention, compute=machine.compute)
    operands = operator_bytes(trace)
    fused = fused_bytes(trace) if machine.compute.fusion == "elementwise" else 0.0
    one_product = 2.0 * dims.prod(axis=1)
    is_matrix = o.batch > 0
    is_vector = ~is_matrix if o.duration_s is None else o.is_pointwise
    return Loads(
        matrix_flops=np.where(is_matrix, o.flops, 0).astype(np.float64),
        # Work that is no matrix product, such as a Fourier transform, runs where elementwise work does.
        vector_ops=np.where(
            is_vector, np.maximum(_per_operator(trace, _touched_elements(trace)), o.flops), 0.0
        ),
        fast_bytes=np.maximum(operands * ratios - fused, 0.0),
        operand_bytes=operands,
        vector_class=np.array([vector_class(name) for name in o.name], np.int8),
        dims=dims,
        products=np.divide(o.flops, one_product, out=np.zeros(len(o)), where=one_product > 0),
        is_fp32=itemsize >= FP32_BYTES,
        measured_s=measured_seconds(trace, machine.calibration) if o.duration_s is None else o.duration_s,
    )


def slice_work(
    loads: Loads, machine: Machine, *, share: NDArray[np.float64], dims: NDArray[np.float64]
) -> SliceWork:
    """Return the cost of slices.

    Args:
        loads: Of the operator that each slice is a part of, shape (slices,).
        machine: For rates.
        share: Share of the operator's work that each slice does, shape (slices,); adds up to 1 per operator.
        dims: Share of each of `MATRIX_DIMS` that the slice's matrix product covers, shape (slices, 4).
    """
    compute = machine.compute
    batch, m, n, k = np.ceil(loads.dims * dims).astype(np.int64).T
    passes = np.where(loads.is_fp32, compute.fp32_passes, 1.0)
    seconds = loads.products * matrix_seconds(compute=compute, batch=batch, m=m, n=n, k=k, passes=passes)
    streamed = loads.products * sram_bytes(compute=compute, batch=batch, m=m, n=n, k=k, passes=passes)
    fast = loads.fast_bytes * share
    vector_ops = loads.vector_ops * share
    vector_s = vector_ops / vector_ops_per_s(loads.vector_class, compute=compute)
    modelled_s = np.maximum.reduce([seconds, vector_s, fast_seconds(machine.fast, fast)])
    return SliceWork(
        matrix_flops=loads.matrix_flops * share,
        vector_ops=vector_ops,
        fast_bytes=fast,
        sram_bytes=np.where(loads.dims[:, 0] > 0, streamed, loads.operand_bytes * share),
        duration_s=np.where(np.isnan(loads.measured_s), modelled_s, loads.measured_s * share),
    )


def _itemsize(trace: Trace) -> NDArray[np.int64]:
    """Largest element size among what each operator writes."""
    size = np.zeros(len(trace.operators), np.int64)
    np.maximum.at(
        size, trace.operands.op[trace.operands.writes], trace.operands.itemsize[trace.operands.writes]
    )
    return size


def _touched_bytes(trace: Trace) -> NDArray[np.float64]:
    return _touched_elements(trace) * trace.operands.itemsize


def _touched_elements(trace: Trace) -> NDArray[np.float64]:
    """Elements that each operand moves: once for reading, once for writing; broadcast dimensions count once."""
    operands = trace.operands
    elements = np.array(
        [_distinct(shape, stride) for shape, stride in zip(operands.shape, operands.stride, strict=True)],
        np.float64,
    )
    return elements * (operands.reads.astype(np.float64) + operands.writes)


def _distinct(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    count = 1
    for size, step in zip(shape, stride, strict=True):
        count *= size if step else min(size, 1)
    return count


def _per_operator(trace: Trace, per_operand: NDArray[np.float64]) -> NDArray[np.float64]:
    sums = np.zeros(len(trace.operators))
    np.add.at(sums, trace.operands.op, per_operand)
    return sums
