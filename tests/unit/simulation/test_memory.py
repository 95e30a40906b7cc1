"""The fast tier by itself: what leaves, what has to be written, what the books say."""

import pytest
from tests.support.timelines import make_timeline

from tmtrain.errors import PlanRefutedError
from tmtrain.simulation.memory import Books, Memory
from tmtrain.trace import Role

CLEAN, DIRTY = 0, 1


def _memory() -> Memory:
    """4 clean pages of extent 0 and 4 dirty pages of extent 1 in 10 pages of room."""
    timeline = make_timeline(
        ["c:r d:new"], pages={"c": 4, "d": 4}, fast_pages=10, roles={"c": Role.PARAMETER, "d": Role.GRADIENT}
    )
    memory = Memory(timeline)
    memory.expect(CLEAN, 4)
    memory.reserve(4)
    memory.arrived(CLEAN, 4)
    memory.grow(DIRTY)
    memory.overwrite(DIRTY)
    return memory


def test_the_step_begins_with_what_it_finds_on_flash() -> None:
    memory = Memory(make_timeline(["c:r d:new"], pages={"c": 4, "d": 4}, fast_pages=10))
    assert (memory.live, memory.clean, memory.held, memory.free) == ([True, False], [4, 0], [0, 0], 10)
    assert memory.absent(CLEAN) == 4


def test_clean_pages_leave_at_once() -> None:
    memory = _memory()
    assert memory.give_up(CLEAN, 3) == 0
    assert (memory.held[CLEAN], memory.free, memory.outgoing, memory.absent(CLEAN)) == (1, 5, 0, 3)
    assert memory.books.left == 3


def test_dirty_pages_leave_as_they_are_written() -> None:
    memory = _memory()
    assert memory.give_up(DIRTY, 3) == 3
    assert (memory.held[DIRTY], memory.keeps[DIRTY], memory.outgoing, memory.free) == (4, 1, 3, 2)
    memory.written(DIRTY, 2, memory.version[DIRTY])
    assert (memory.held[DIRTY], memory.outgoing, memory.free, memory.books.left) == (2, 1, 4, 2)


def test_only_what_is_not_queued_yet_has_to_be_written() -> None:
    memory = _memory()
    assert memory.clean_up_to(DIRTY, 2) == 2
    assert memory.clean_up_to(DIRTY, 2) == 0
    assert memory.give_up(DIRTY, 3) == 1
    assert memory.clean_up_to(DIRTY, 1) == 0


def test_an_early_write_makes_pages_leave_at_once() -> None:
    memory = _memory()
    memory.clean_up_to(DIRTY, 3)
    memory.written(DIRTY, 3, memory.version[DIRTY])
    assert memory.held[DIRTY] == 4
    assert memory.give_up(DIRTY, 4) == 1
    assert (memory.held[DIRTY], memory.outgoing) == (1, 1)


def test_what_has_not_left_can_be_taken_back() -> None:
    memory = _memory()
    memory.give_up(DIRTY, 3)
    memory.written(DIRTY, 1, memory.version[DIRTY])
    memory.hold(DIRTY)
    assert (memory.held[DIRTY], memory.keeps[DIRTY], memory.outgoing, memory.absent(DIRTY)) == (3, 3, 0, 1)
    memory.written(DIRTY, 2, memory.version[DIRTY])  # the writes go on, but nothing leaves
    assert (memory.held[DIRTY], memory.clean[DIRTY]) == (3, 3)


def test_writing_an_older_content_makes_nothing_clean() -> None:
    memory = _memory()
    older = memory.version[DIRTY]
    memory.give_up(DIRTY, 2)
    memory.hold(DIRTY)
    memory.overwrite(DIRTY)
    memory.written(DIRTY, 2, older)
    assert (memory.clean[DIRTY], memory.held[DIRTY], memory.books.written) == (0, 4, 2)
    assert memory.give_up(DIRTY, 2) == 2


def test_a_change_makes_the_copy_on_flash_stale() -> None:
    memory = _memory()
    memory.overwrite(CLEAN)
    assert memory.give_up(CLEAN, 1) == 1
    assert memory.held[CLEAN] == 4


def test_the_dead_leave_without_a_trace_on_flash() -> None:
    memory = _memory()
    memory.give_up(DIRTY, 1)
    memory.free_content(DIRTY)
    assert (memory.held[DIRTY], memory.keeps[DIRTY], memory.outgoing, memory.free) == (0, 0, 0, 6)
    assert (memory.live[DIRTY], memory.books.dead, memory.books.left) == (False, 4, 0)


def test_content_cannot_die_while_it_is_being_fetched() -> None:
    memory = _memory()
    memory.give_up(CLEAN, 2)
    memory.arriving[CLEAN] = 2
    with pytest.raises(PlanRefutedError, match="extent 0 dies while 2 of its pages are being fetched"):
        memory.free_content(CLEAN)


def test_growing_makes_room_for_what_is_missing() -> None:
    memory = _memory()
    memory.give_up(CLEAN, 3)
    memory.grow(CLEAN)
    assert (memory.held[CLEAN], memory.free, memory.books.born) == (4, 2, 4 + 3)


def test_the_books_balance_and_roles_add_up() -> None:
    memory = _memory()
    before = memory.snapshot()
    memory.give_up(CLEAN, 1)
    memory.give_up(DIRTY, 2)
    memory.written(DIRTY, 2, memory.version[DIRTY])
    memory.free_content(CLEAN)
    after = memory.snapshot()
    assert before == Books(came_in=4, born=4)
    assert after == Books(came_in=4, born=4, written=2, left=3, dead=3)
    assert memory.held_pages() == 2 == memory.held_by_role[Role.GRADIENT]
    assert memory.free + memory.held_pages() == 10


def test_what_was_there_at_once_is_the_peak_until_it_is_forgotten() -> None:
    memory = _memory()
    memory.free_content(DIRTY)
    memory.reserve(5)
    assert memory.peak_pages == 9
    memory.forget_peak()
    memory.free_content(CLEAN)
    assert memory.peak_pages == 9
    memory.forget_peak()
    assert memory.peak_pages == 5


@pytest.mark.parametrize(
    ("sum_of", "message"),
    [
        pytest.param("free", "the capacity does not add up", id="capacity"),
        pytest.param("outgoing", "on their way out", id="outgoing"),
        pytest.param("expected", "on their way in", id="expected"),
    ],
)
def test_a_sum_that_strayed_from_its_column_is_noticed(sum_of: str, message: str) -> None:
    memory = _memory()
    memory.check_sums()
    setattr(memory, sum_of, getattr(memory, sum_of) + 1)
    with pytest.raises(AssertionError, match=message):
        memory.check_sums()


def test_nobody_hands_over_more_than_there_is() -> None:
    memory = _memory()
    with pytest.raises(AssertionError, match="only what is kept"):
        memory.give_up(CLEAN, 5)
    with pytest.raises(AssertionError, match="what is there cannot come in"):
        memory.expect(CLEAN, 1)
    with pytest.raises(AssertionError, match="no room was reserved"):
        memory.arrived(CLEAN, 1)
    with pytest.raises(AssertionError, match="Rule 2"):
        memory.reserve(11)
