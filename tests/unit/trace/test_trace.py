"""The trace counts live bytes by its own rules, also round the end of the step."""

import dataclasses

import numpy as np
import pytest

from tmtrain.trace import Operands, Role, Storages, Trace, example_trace
from tmtrain.trace.rows import span_elements


def with_storages(*lives: tuple[int, int, bool]) -> Trace:
    """The ten operators of the example with one storage of 2**i bytes for each (birth, death, persistent)."""
    birth, death, persistent = zip(*lives, strict=True)
    blank = ("",) * len(lives)
    storages = Storages(
        name=blank,
        bytes=2 ** np.arange(len(lives), dtype=np.int64),
        dtype=blank,
        role=np.full(len(lives), Role.TEMPORARY, np.int8),
        persistent=np.array(persistent, np.bool_),
        birth_op=np.array(birth, np.int32),
        death_op=np.array(death, np.int32),
        module=blank,
    )
    return dataclasses.replace(example_trace(), storages=storages)


def alive(birth: int, death: int, t: int) -> bool:
    return birth <= t < death if birth < death else t >= birth or t < death


@pytest.mark.parametrize("birth", range(10))
@pytest.mark.parametrize("death", range(11))
def test_live_bytes_of_every_lifetime(birth: int, death: int) -> None:
    live = with_storages((birth, death, False), (0, 10, True)).live_bytes()
    assert list(live) == [alive(birth, death, t) + 2 for t in range(10)]


def test_footprint_of_the_example_by_hand() -> None:
    # While threshold_backward runs: weight, momentum, two inputs, relu, the loss (4 bytes), two gradients of it.
    assert example_trace().footprint_bytes == 7 * 4096 + 4


def test_the_example_is_consistent() -> None:
    trace = example_trace()
    s, o = trace.storages, trace.operands
    for row in np.flatnonzero(o.allocates):
        assert s.birth_op[o.storage[row]] == o.op[row]
        assert o.position[row] >= Operands.RESULT
    for t, number in zip(o.op, o.storage, strict=True):
        assert s.persistent[number] or alive(int(s.birth_op[number]), int(s.death_op[number]), int(t))
    assert set(o.storage[o.allocates]) == set(np.flatnonzero(~s.persistent))
    assert np.all(trace.operators.flops == 2 * trace.operators.m * trace.operators.n * trace.operators.k)


@pytest.mark.parametrize(
    ("shape", "stride", "span"), [((), (), 1), ((3,), (0,), 1), ((0, 4), (4, 1), 0), ((2, 3), (1, 2), 6)]
)
def test_span(shape: tuple[int, ...], stride: tuple[int, ...], span: int) -> None:
    assert span_elements(shape, stride) == span
