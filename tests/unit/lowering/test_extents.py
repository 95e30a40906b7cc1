"""Who needs which content when: walked round real and hand-made steps."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from tests.support.gaps import touches
from tests.support.operators import Tensor, one_operator
from tests.support.timelines import next_use
from tests.support.traces import TINY, tiny_trace

from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine
from tmtrain.planning.problem.problem import framework_peak_pages
from tmtrain.trace import Trace, example_trace

SHARE = 0.4
PAGE = 4096


def lowered(name: str) -> tuple[Trace, Timeline]:
    trace = tiny_trace(name)
    machine = load_machine("v4-slc")
    return trace, lower(trace, machine=machine, fast_bytes=int(SHARE * trace.footprint_bytes))


def freed(timeline: Timeline) -> list[list[int]]:
    return [chunk.tolist() for chunk in np.split(timeline.frees.extent, timeline.frees.ptr[1:-1])]


@pytest.mark.parametrize("name", TINY)
def test_the_next_access_is_the_one_found_by_walking(name: str) -> None:
    _, timeline = lowered(name)
    needs = [{e: need for e, (need, _) in accesses.items()} for accesses in touches(timeline)]
    slice_ = np.repeat(np.arange(len(needs)), np.diff(timeline.accesses.ptr)).tolist()
    every = 1 if len(slice_) < 3000 else 17
    for row in range(0, len(slice_), every):
        expected = next_use(needs, slice_[row], int(timeline.accesses.extent[row]))
        assert timeline.accesses.next_slice[row] == expected


@pytest.mark.parametrize("name", TINY)
def test_extents_tile_every_storage(name: str) -> None:
    trace, timeline = lowered(name)
    e = timeline.extents
    assert (np.diff(e.storage) >= 0).all()
    new = np.diff(e.storage, prepend=-1) > 0
    assert (e.first_page[new] == 0).all()
    np.testing.assert_array_equal(e.first_page[~new], (e.first_page + e.pages)[:-1][~new[1:]])
    pages = np.bincount(e.storage, e.pages, len(trace.storages))
    np.testing.assert_array_equal(pages, -(-trace.storages.bytes // PAGE))


@pytest.mark.parametrize("name", TINY)
def test_content_is_needed_only_while_there_is_some(name: str) -> None:
    """Run the step twice on an empty memory: what is read was made or was there from the start, and nothing that
    outlives the framework's free is used."""
    trace, timeline = lowered(name)
    storage, persistent = timeline.extents.storage, trace.storages.persistent
    wraps = (trace.storages.death_op <= trace.storages.birth_op) & ~persistent
    there = (persistent | wraps)[storage].copy()
    outlives = freed(timeline)
    for step in range(2):
        for t, accesses in enumerate(touches(timeline)):
            for extent, (needs, writes) in accesses.items():
                assert there[extent] or not needs, f"step {step}: slice {t} reads what is not there"
                assert needs or writes, "an access that needs nothing makes something"
                there[extent] = True
            there[outlives[t]] = False
    np.testing.assert_array_equal(there, (persistent | wraps)[storage], "the step ends as it began")
    np.testing.assert_array_equal(timeline.extents.persistent, (persistent | wraps)[storage])


@pytest.mark.parametrize("name", TINY)
def test_reads_need_content_and_only_the_first_access_or_an_overwrite_does_not(name: str) -> None:
    """For extents of storages that an operator reads (and no more than reads), once something was made there."""
    trace, timeline = lowered(name)
    o, birth = trace.operands, trace.storages.birth_op
    reading = {(int(op), int(s)) for op, s, r in zip(o.op, o.storage, o.reads, strict=True) if r}
    seen: set[int] = set()
    for t, accesses in enumerate(touches(timeline)):
        op = int(timeline.slices.op[t])
        for extent, (needs, _) in accesses.items():
            s = int(timeline.extents.storage[extent])
            born_here = not trace.storages.persistent[s] and birth[s] == op and extent not in seen
            if (
                (op, s) in reading
                and not born_here
                and (extent in seen or timeline.extents.persistent[extent])
            ):
                assert needs or partly_read(trace, op, s), trace.operators.name[op]
            seen.add(extent)


def partly_read(trace: Trace, op: int, storage: int) -> bool:
    """Several operands of `op` lie in `storage`: another one may be what touches the extent."""
    mine = (trace.operands.op == op) & (trace.operands.storage == storage)
    return len(set(trace.operands.offset_bytes[mine].tolist())) > 1


@pytest.mark.parametrize("name", TINY)
def test_the_framework_frees_after_the_last_slice_before_the_death(name: str) -> None:
    trace, timeline = lowered(name)
    op, T = timeline.slices.op, len(timeline.slices)
    freed_after = {e: t for t, chunk in enumerate(freed(timeline)) for e in chunk}
    for extent, s in enumerate(timeline.extents.storage.tolist()):
        if trace.storages.persistent[s]:
            assert extent not in freed_after
            continue
        before = np.flatnonzero(op < trace.storages.death_op[s])
        assert freed_after[extent] == (before[-1] if len(before) else T - 1)


@pytest.mark.parametrize("name", TINY)
def test_the_frameworks_peak_is_the_footprint_in_whole_pages(name: str) -> None:
    """A storage is alive from its first access, not from its birth, and in whole pages: that is all that differs."""
    trace, timeline = lowered(name)
    peak, rounding = framework_peak_pages(timeline) * PAGE, PAGE * len(trace.storages)
    assert peak <= trace.footprint_bytes + rounding
    assert peak >= 0.9 * trace.footprint_bytes


def test_a_gradient_lives_round_the_end_of_the_step() -> None:
    """Its last read is before its free in the next step; between them it is dead and takes no room."""
    trace = example_trace()
    timeline = lower(trace, machine=load_machine("v4-slc"), fast_bytes=9 * PAGE)
    gradient = trace.storages.name.index("grad:0.weight")
    (extent,) = np.flatnonzero(timeline.extents.storage == gradient)
    assert timeline.extents.persistent[extent], "the framework holds it over the end of the step"
    uses = [(t, a[extent]) for t, a in enumerate(touches(timeline)) if extent in a]
    assert [(int(timeline.slices.op[t]), use) for t, use in uses] == [(6, (False, True)), (8, (True, False))]
    (after,) = [t for t, chunk in enumerate(freed(timeline)) if extent in chunk]
    assert timeline.slices.op[after] == 2


def test_what_is_read_in_the_next_step_before_it_is_born_again_has_content() -> None:
    """A loss that is logged at the start of the next step: its first access after birth is the later one."""
    tensors = [Tensor(shape=(8,), persistent=False), Tensor(shape=(8,))]
    trace = one_operator("add", tensors, pointwise=True)
    twice = replace(
        trace,
        operators=repeated(trace.operators),
        operands=replace(
            repeated(trace.operands),
            op=np.array([0, 0, 1, 1], np.int32),
            reads=np.array([True, True, False, True]),
            writes=np.array([False, False, True, False]),
        ),
        storages=replace(
            trace.storages, birth_op=np.array([1, 0], np.int32), death_op=np.array([1, 2], np.int32)
        ),
    )
    timeline = lower(twice, machine=load_machine("v4-slc"), fast_bytes=8 * PAGE)
    read, born = (accesses[0] for accesses in touches(timeline))
    assert (read, born) == ((True, False), (False, True))
    assert [chunk for chunk in freed(timeline) if 0 in chunk] == [freed(timeline)[0]], "after the read"


@pytest.mark.parametrize(
    ("offset", "elements", "storage_bytes", "needs"),
    [
        pytest.param(0, 2048, 8192, [False, False], id="all of the storage"),
        pytest.param(4096, 1024, 8192, [False], id="one whole page of it"),
        pytest.param(0, 1500, 8192, [True, True], id="the rest of its last page is somebody else's"),
        pytest.param(0, 1500, 6000, [False, False], id="its last page has no rest"),
        pytest.param(100, 1948, 7892, [True, True], id="the start of its first page is somebody else's"),
    ],
)
def test_overwriting_a_part_of_a_page_needs_the_page(
    offset: int, elements: int, storage_bytes: int, needs: list[bool]
) -> None:
    """The storage is persistent: it has content before. (An overwritten run is judged as a whole.)"""
    target = Tensor(
        shape=(elements,), result=True, persistent=True, offset_bytes=offset, storage_bytes=storage_bytes
    )
    trace = one_operator("relu", [Tensor(shape=(elements,)), target], pointwise=True)
    timeline = lower(trace, machine=load_machine("v4-slc"), fast_bytes=64 * PAGE)
    rows = timeline.extents.storage[timeline.accesses.extent] == 1
    pages = timeline.extents.pages[timeline.accesses.extent[rows]]
    flags = np.repeat(timeline.accesses.needs_content[rows], pages)
    assert flags.tolist() == needs


def test_a_strided_result_keeps_what_lies_between() -> None:
    target = Tensor(shape=(1024,), stride=(2,), result=True, persistent=True)
    trace = one_operator("relu", [Tensor(shape=(1024,)), target], pointwise=True)
    timeline = lower(trace, machine=load_machine("v4-slc"), fast_bytes=64 * PAGE)
    rows = timeline.extents.storage[timeline.accesses.extent] == 1
    assert timeline.accesses.needs_content[rows].all()


def test_memory_read_before_anything_was_written_is_content_from_then_on() -> None:
    """``x = torch.empty(n); y = x + 1; z = x + 2``: whoever plans must not believe that flash holds x already."""
    trace = one_operator(
        "add", [Tensor(shape=(1024,), persistent=False), Tensor(shape=(1024,), result=True)], pointwise=True
    )
    twice = replace(
        trace,
        operators=repeated(trace.operators),
        operands=replace(repeated(trace.operands), op=np.array([0, 0, 1, 1], np.int32)),
        storages=replace(trace.storages, death_op=np.array([2, 2], np.int32)),
    )
    timeline = lower(twice, machine=load_machine("v4-slc"), fast_bytes=8 * PAGE)
    first, second = (accesses[0] for accesses in touches(timeline))
    assert first == (False, True)
    assert second == (True, False)


def repeated(table: Any) -> Any:
    """The rows of a table of columns twice."""
    columns = {f.name: getattr(table, f.name) for f in fields(table) if getattr(table, f.name) is not None}
    return replace(table, **{n: c * 2 if isinstance(c, tuple) else np.tile(c, 2) for n, c in columns.items()})
