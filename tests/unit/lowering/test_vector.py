"""Classes of vector operators: by hand, one element per operation."""

from dataclasses import replace

import pytest
from tests.support.operators import Tensor, one_operator

from tmtrain.lowering import lower
from tmtrain.lowering.vector import VectorClass, vector_class
from tmtrain.machine import Machine, load_machine

ELEMENTS = 2 * 1024 * 1024
"""Read and written."""


def slow_machine() -> Machine:
    """A vector unit of 1 Gop/s, so that nothing else binds but for copies; a quarter and half of it for the classes."""
    machine = load_machine("v4-slc")
    compute = replace(machine.compute, vector_ops_per_s=1e9, transcendental_share=0.25, reduction_share=0.5)
    return replace(machine, compute=compute)


@pytest.mark.parametrize(
    ("name", "ops_per_s"),
    [
        ("add", 1e9),
        ("relu", 1e9),
        ("gelu", 0.25e9),
        ("exp_", 0.25e9),
        ("_softmax", 0.25e9),
        ("native_layer_norm", 0.5e9),
    ],
)
def test_each_class_has_a_rate(name: str, ops_per_s: float) -> None:
    tensors = [Tensor(shape=(1024, 1024)), Tensor(shape=(1024, 1024), result=True)]
    slices = lower(one_operator(name, tensors), machine=slow_machine(), fast_bytes=1 << 30).slices
    assert slices.duration_s.sum() == pytest.approx(ELEMENTS / ops_per_s)
    assert slices.vector_ops.sum() == ELEMENTS


def test_a_copy_takes_the_time_of_its_bytes() -> None:
    tensors = [Tensor(shape=(1024, 1024)), Tensor(shape=(1024, 1024), result=True)]
    machine = slow_machine()
    slices = lower(one_operator("clone", tensors), machine=machine, fast_bytes=1 << 30).slices
    fast = machine.fast
    seconds = fast.latency_s + 4 * ELEMENTS / (fast.bandwidth_bytes_per_s * fast.efficiency)
    assert slices.duration_s.tolist() == pytest.approx([seconds])


@pytest.mark.parametrize("name", ["aten._foreach_sqrt_.default", "aten.sqrt_.default", "aten.sqrt.default"])
def test_lists_and_results_in_place_are_in_the_class_of_the_plain_operator(name: str) -> None:
    assert vector_class(name) is VectorClass.TRANSCENDENTAL
