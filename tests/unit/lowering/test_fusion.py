"""Fusion: which bytes never cross, and that nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.proposals import proposed
from tests.support.thoroughness import rest_slow
from tests.support.traces import TINY, tiny_trace

from tmtrain.checking import check_plan
from tmtrain.lowering import Timeline, lower
from tmtrain.lowering.cost import operator_bytes, operator_loads
from tmtrain.lowering.fusion import fused_bytes
from tmtrain.machine import Machine, load_machine
from tmtrain.trace import Trace, example_trace

MATRIX = 4096
"""Bytes of every matrix of the example."""


def fusing(name: str = "v4-slc") -> Machine:
    machine = load_machine(name)
    return replace(machine, compute=replace(machine.compute, fusion="elementwise"))


def saved(trace: Trace) -> list[int]:
    return fused_bytes(trace).astype(int).tolist()


def with_reader(trace: Trace, *, op: int, storage: str) -> Trace:
    """Let operator `op` read a storage instead of its first argument."""
    operands = trace.operands
    at = trace.storages.name.index(storage)
    row = int(np.flatnonzero((operands.op == op) & operands.reads)[0])
    column = operands.storage.copy()
    column[row] = at
    return replace(trace, operands=replace(operands, storage=column))


def test_a_write_and_the_only_read_of_it_are_saved() -> None:
    """mm > relu, mse_loss_backward > threshold_backward, and the momentum that mul_ leaves to add_: a matrix each way.

    Not saved: relu (loss and backward read it), the gradient, and the momentum that the next step needs.
    """
    assert saved(example_trace()) == [MATRIX, MATRIX, 0, MATRIX, MATRIX, 0, 0, MATRIX, MATRIX, 0]


@pytest.mark.parametrize("op", [2, 6])
def test_a_second_reader_needs_it_in_memory(op: int) -> None:
    trace = with_reader(example_trace(), op=op, storage="mm#0.0")
    assert saved(trace)[:2] == [0, 0]


def test_what_is_no_pointwise_operator_reads_from_memory() -> None:
    trace = example_trace()
    pointwise = trace.operators.is_pointwise.copy()
    pointwise[1] = False
    assert saved(replace(trace, operators=replace(trace.operators, is_pointwise=pointwise)))[:2] == [0, 0]


def test_another_part_of_the_storage_is_another_result() -> None:
    trace = example_trace()
    read = int(np.flatnonzero((trace.operands.op == 1) & trace.operands.reads)[0])
    offset = trace.operands.offset_bytes.copy()
    offset[read] = 4
    assert saved(replace(trace, operands=replace(trace.operands, offset_bytes=offset)))[:2] == [0, 0]


def both(name: str) -> tuple[Timeline, Timeline]:
    trace = tiny_trace(name)
    fast = int(0.4 * trace.footprint_bytes)
    return tuple(lower(trace, machine=m, fast_bytes=fast) for m in (load_machine("v4-slc"), fusing()))  # pyright: ignore


@pytest.mark.parametrize("name", TINY)
def test_only_bytes_of_fast_memory_and_seconds_change(name: str) -> None:
    plain, fused = both(name)
    for column in ("op", "phase", "matrix_flops", "vector_ops", "sram_bytes"):
        np.testing.assert_array_equal(getattr(plain.slices, column), getattr(fused.slices, column))
    assert (fused.slices.fast_bytes <= plain.slices.fast_bytes).all()
    assert (fused.slices.duration_s <= plain.slices.duration_s).all()
    assert fused.slices.fast_bytes.sum() < plain.slices.fast_bytes.sum()
    np.testing.assert_array_equal(plain.accesses.extent, fused.accesses.extent)
    np.testing.assert_array_equal(plain.extents.pages, fused.extents.pages)
    np.testing.assert_array_equal(plain.frees.extent, fused.frees.extent)


@pytest.mark.parametrize("name", TINY)
def test_what_is_saved_is_taken_off_the_bytes_of_the_operators(name: str) -> None:
    """No operator moves less than nothing, and off means off."""
    trace = tiny_trace(name)
    off = fused_bytes(trace)
    assert (off <= operator_bytes(trace)).all()
    assert off.sum() > 0
    loads = operator_loads(trace, machine=fusing())
    np.testing.assert_allclose(loads.fast_bytes, operator_bytes(trace) - off)
    assert fusing().fingerprint != load_machine("v4-slc").fingerprint


@pytest.mark.parametrize(("name", "objective"), rest_slow([("resnet", "energy"), ("bert", "bytes")]))
def test_a_plan_with_recomputations_of_fused_operators_passes_the_checker(name: str, objective: str) -> None:
    trace, machine = tiny_trace(name), fusing()
    timeline = lower(trace, machine=machine, fast_bytes=int(0.4 * trace.footprint_bytes))
    result = proposed(timeline, machine=machine, objective=objective)
    assert len(result.recomputations) > 0
    assert check_plan(trace, result, machine=machine).ok
