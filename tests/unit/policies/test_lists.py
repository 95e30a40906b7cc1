"""What FIFO and the active and inactive lists do on steps small enough for paper; one second per slice and page."""

from tests.support.simulated import SteadyStep, pages_per_second, steady_step, step

from tmtrain.policies.pagers.ial import IalPager

HOT_AND_COLD = step(["a:r", "b:r", "a:r", "c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)


def test_fifo_evicts_what_came_first_though_it_was_just_used() -> None:
    # c evicts a, the older arrival; a then evicts b, b evicts c: a b . c miss. LRU lets a stay: only b and c miss.
    assert steady_step("fifo", HOT_AND_COLD, pages_per_second()) == SteadyStep(
        pages_in=3, pages_out=0, step_s=7, stall_s=3
    )
    assert steady_step("lru", HOT_AND_COLD, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=6, stall_s=2
    )


def test_fifo_spares_the_slice_at_hand() -> None:
    # a arrived first, but slice 1 uses it with c: b goes. Slice 0 uses it with b: c goes.
    timeline = step(["a:r b:r", "a:r c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    assert steady_step("fifo", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=4, stall_s=2
    )


def test_what_comes_back_has_arrived_anew() -> None:
    # a (2 pages), b, c, d (1 each) in 4 pages. d evicts a page of a, which is then the newest: slice 0 fetches it for b's.
    # Slice 1 fetches b for c's, slice 2 c for d's, slice 3 d for a page of a. Were a still the oldest, it would lose a page
    # to b at once, and b's room would never be asked for.
    timeline = step(["a:r", "b:r", "c:r", "d:r"], pages={"a": 2, "b": 1, "c": 1, "d": 1}, fast_pages=4)
    assert steady_step("fifo", timeline, pages_per_second()) == SteadyStep(
        pages_in=4, pages_out=0, step_s=8, stall_s=4
    )


def test_what_is_used_again_survives_a_scan() -> None:
    # h is used twice and is active; x and y, used once, take turns in the other page. LRU loses h to y: three misses.
    timeline = step(["h:r", "h:r", "x:r", "y:r"], pages={"h": 1, "x": 1, "y": 1}, fast_pages=2)
    assert steady_step("ial", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=6, stall_s=2
    )
    assert steady_step("lru", timeline, pages_per_second()) == SteadyStep(
        pages_in=3, pages_out=0, step_s=7, stall_s=3
    )


def test_the_active_list_gives_way_when_it_is_the_longer_one() -> None:
    # a and b are both active when c comes: the older of them is made inactive and goes. One step misses a (which takes the
    # page of c) and c, the next one b and c.
    timeline = step(["a:r", "a:r", "b:r", "b:r", "c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    assert steady_step("ial", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=7, stall_s=2
    )


def test_lists_spare_the_slice_at_hand() -> None:
    # a, in slice 1 again, is active; b (inactive) makes room for c, c for b.
    timeline = step(["a:r b:r", "a:r c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    assert steady_step("ial", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=4, stall_s=2
    )


def test_both_write_dirty_pages_and_free_dead_ones() -> None:
    # x is made and dies in slice 0: free. d is updated in slice 1, written for y's room (1 s), and comes back (1 s).
    timeline = step(
        ["x:new", "d:rw", "y:new"], pages={"x": 1, "d": 1, "y": 1}, fast_pages=1, frees={0: "x", 2: "y"}
    )
    for policy in ("fifo", "ial"):
        assert steady_step(policy, timeline, pages_per_second()) == SteadyStep(
            pages_in=1, pages_out=1, step_s=5, stall_s=2
        )


def test_what_was_active_too_long_leaves_before_younger_inactive_pages() -> None:
    # a, b, c and d are active, x and y inactive: 4 to 2 pages. Asked for a page, a is made inactive behind them, x goes.
    # After z and w have come, the oldest inactive pages are y and a.
    names = "aabbccddxyzw"
    timeline = step([f"{name}:r" for name in names], pages=dict.fromkeys("abcdxyzw", 1), fast_pages=6)
    pager, held = IalPager(timeline), [1] * 8
    for t in range(10):
        pager.touch(int(timeline.accesses.extent[t]), t)
    assert pager.victims(1, held=held) == [(4, 1)]
    for t in (10, 11):
        pager.touch(int(timeline.accesses.extent[t]), t)
    assert pager.victims(2, held=held) == [(5, 1), (0, 1)]
