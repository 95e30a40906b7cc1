"""Laws of the flash device, over random requests: nothing is lost, made up or counted twice."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.thoroughness import examples

from tmtrain.simulation.flash import (
    FlashOutcome,
    RequestKind,
    Requests,
    Translation,
    make_requests,
    simulate_flash,
)
from tmtrain.simulation.flash.example import example_device
from tmtrain.simulation.flash.loop import run
from tmtrain.simulation.flash.state import COLLECTING, FREE, FlashState, new_state

PAGE = 4096
FILLED = 512
READ, WRITE, DISCARD = RequestKind
LAYOUTS = {
    "log": Translation(over_provisioning=0.25),
    "log with a large reserve": Translation(over_provisioning=0.5, reserve_blocks=4, collect_below_blocks=6),
    "grouped": Translation(layout="grouped", over_provisioning=0.25, reserve_blocks=0),
}


@st.composite
def _random_requests(draw: st.DrawFn) -> Requests:
    """Mixed requests of one to twenty pages, within what is filled, some bursts and some gaps."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(1, 1500))
    shares = draw(st.sampled_from([(0.5, 0.5, 0.0), (0.1, 0.9, 0.0), (0.3, 0.6, 0.1), (0.0, 1.0, 0.0)]))
    pages = random.integers(1, draw(st.sampled_from([2, 21])), n)
    gaps = random.exponential(draw(st.sampled_from([0.0, 2e-5, 1e-3])), n)
    return Requests(
        arrival_s=np.cumsum(gaps),
        kind=random.choice(3, n, p=shares).astype(np.int8),
        first_byte=random.integers(0, FILLED - 20, n) * PAGE,
        size_bytes=pages * PAGE,
        group=random.integers(0, 3, n).astype(np.int32),
    )


def _run(layout: str, requests: Requests, queue_depth: int) -> FlashState:
    state = new_state(example_device(translation=LAYOUTS[layout]), requests, queue_depth=queue_depth)
    run(state, FILLED)
    return state


@examples(60)
@given(st.sampled_from(sorted(LAYOUTS)), _random_requests(), st.sampled_from([1, 3, 64]))
def test_the_books_balance(layout: str, requests: Requests, queue_depth: int) -> None:
    s = _run(layout, requests, queue_depth)
    count, blocks = s.count[0], s.blocks
    if count.outcome != FlashOutcome.DONE:  # discarded pages may be read, and the grouped layout may fill up
        assert count.outcome == FlashOutcome.NEVER_WRITTEN or (
            count.outcome == FlashOutcome.FULL and layout == "grouped"
        )
        return
    size, pages = requests.size_bytes // PAGE, s.setup.pages_per_block
    assert count.host_reads == size[requests.kind == READ].sum()
    assert count.host_programs == size[requests.kind == WRITE].sum()
    assert count.copy_reads == count.copy_programs
    assert count.erases == blocks.erases.sum()
    # Every page that was ever programmed stands in a block, or went with an erase.
    assert count.host_programs + count.copy_programs + FILLED <= blocks.written.sum() + count.erases * pages
    assert s.ops[: count.ops_used].size == _length_of_free_list(s), "no operation is left over"
    assert (s.lists["head"] == -1).all()
    assert not s.host_pages.locked.any()
    assert not (blocks.state == COLLECTING).any()
    assert (blocks.pending == 0).all()
    # The mapping is one to one, and blocks know how much of them is valid.
    mapped = np.flatnonzero(s.host_pages.at)
    where = s.host_pages.at[mapped] - 1
    assert (s.device_pages.holds[where] == mapped + 1).all()
    assert np.count_nonzero(s.device_pages.holds) == len(mapped)
    assert (np.bincount(where // pages, minlength=len(blocks)) == blocks.valid).all()
    free = (blocks.state == FREE).reshape(len(s.planes), -1)
    assert (free.sum(axis=1) == s.planes.free).all()


def _length_of_free_list(s: FlashState) -> int:
    op, length = s.count[0].ops_free, 0
    while op >= 0:
        op, length = s.ops[op].next, length + 1
    return length


@examples(40)
@given(st.sampled_from(["log", "log with a large reserve"]), st.integers(0, 2**32), st.integers(200, 2000))
def test_a_read_finds_the_latest_version(layout: str, seed: int, n: int) -> None:
    random = np.random.default_rng(seed)
    pages, kind = random.integers(0, FILLED, n), random.integers(0, 2, n).astype(np.int8)
    requests = make_requests(READ, pages * PAGE, size_bytes=PAGE)
    requests = Requests(**{name: getattr(requests, name) for name in Requests.__slots__} | {"kind": kind})
    device = example_device(translation=LAYOUTS[layout])
    result = simulate_flash(device, requests, queue_depth=1, filled_bytes=FILLED * PAGE)
    latest = np.full(FILLED, -1)
    for request in range(n):
        if kind[request] == READ:
            assert result.origin[request] == latest[pages[request]]
        else:
            latest[pages[request]] = request


@examples(30)
@given(_random_requests(), st.sampled_from([1, 8, 64]))
def test_time_is_causal_and_busy_parts_are_not_overbooked(requests: Requests, queue_depth: int) -> None:
    device = example_device()
    result = simulate_flash(device, requests, queue_depth=queue_depth, filled_bytes=FILLED * PAGE)
    done = ~np.isnan(result.completed_s)
    assert (result.admitted_s[done] >= requests.arrival_s[done] - 1e-12).all()
    assert (result.completed_s[done] >= result.admitted_s[done]).all()
    assert (np.diff(result.admitted_s[done]) >= 0).all(), "in order of arrival"
    assert (result.channel_busy_s <= result.end_s * (1 + 1e-9) + 1e-4).all()
    assert (result.die_busy_s <= result.end_s * (1 + 1e-9)).all()


@examples(15)
@given(st.integers(0, 2**32), st.integers(2, 6))
def test_grouped_deaths_are_never_copied(seed: int, num_groups: int) -> None:
    """Tensors of random sizes are written in random interleaving, and each dies as a whole."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 5, num_groups) * 8
    base = np.concatenate([[0], np.cumsum(sizes)])
    kinds, pages, groups = [], [], []
    for _ in range(40):
        for page in random.permutation(base[-1]):
            group = int(np.searchsorted(base, page, side="right")) - 1
            kinds.append(WRITE), pages.append(page), groups.append(group)
        for group in range(num_groups):
            for page in range(base[group], base[group + 1]):
                kinds.append(DISCARD), pages.append(page), groups.append(group)
    n = len(kinds)
    requests = Requests(
        arrival_s=np.zeros(n),
        kind=np.array(kinds, np.int8),
        first_byte=np.array(pages, np.int64) * PAGE,
        size_bytes=np.full(n, PAGE),
        group=np.array(groups, np.int32),
    )
    result = simulate_flash(example_device(translation=LAYOUTS["grouped"]), requests, queue_depth=1)
    assert result.outcome is FlashOutcome.DONE, result.message
    assert result.write_amplification == 1.0
