"""A plan that breaks a rule is refuted, or costs a stall; it never passes with other bytes than it moved."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.simulated import SteadyStep, decided, in_pages, pages_per_second, simulated, step

from tmtrain.deciding import Decision
from tmtrain.errors import InternalError, PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.simulation import Result, run, simulate
from tmtrain.simulation.engine import Engine
from tmtrain.simulation.steady import SteadySteps

MACHINE = pages_per_second(write=0.5)

ROOM_FOR_T = step(
    ["a:rw", "t:new", "", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={1: "t"}, duration_s=[2, 1, 2, 1]
)
"""One page of a steps aside for t in slice 1. It is dirty: written (2 s) before slice 1, back while slice 3 runs."""
HONEST = SteadyStep(pages_in=1, pages_out=1, step_s=8, stall_s=2)


def _sabotaged(timeline: Timeline, **columns: int) -> Decision:
    """Our decision with columns of its only transfer replaced."""
    decision = decided("tmtrain", timeline, MACHINE)
    assert decision.plan is not None
    assert len(decision.plan.transfers) == 1
    wrong = {name: np.array([value]) for name, value in columns.items()}
    return replace(decision, plan=replace(decision.plan, transfers=replace(decision.plan.transfers, **wrong)))


def _run(decision: Decision) -> Result:
    return simulate(decision, machine=MACHINE, policy="sabotaged")


def test_the_plan_as_it_was_passes() -> None:
    decision = decided("tmtrain", ROOM_FOR_T, MACHINE)
    assert decision.plan is not None
    moves = decision.plan.transfers
    assert {name: getattr(moves, name).tolist() for name in moves.__slots__ if name != "written_slice"} == {
        "extent": [0],
        "first_page": [0],
        "pages": [1],
        "write_slice": [1],
        "leave_slice": [1],
        "fetch_slice": [3],
        "return_slice": [4],
    }
    assert in_pages(_run(decision)) == HONEST


def test_a_missing_transfer_leaves_no_room() -> None:
    decision = decided("tmtrain", ROOM_FOR_T, MACHINE)
    assert decision.plan is not None
    moves = decision.plan.transfers
    none = replace(moves, **{name: getattr(moves, name)[:0] for name in moves.__slots__})
    message = (
        r"slice 1 \(operator 1\) can never start: fast memory of 8.00 KiB holds 8.00 KiB that nobody gives up"
    )
    with pytest.raises(PlanRefutedError, match=message):
        _run(replace(decision, plan=replace(decision.plan, transfers=none)))


def test_too_many_pages_kept_leave_no_room() -> None:
    timeline = step(["a:rw", "t:new", ""], pages={"a": 3, "t": 2}, fast_pages=3, frees={1: "t"})
    decision = decided("tmtrain", timeline, MACHINE)
    assert decision.plan is not None
    assert in_pages(_run(decision)).pages_in == 2
    moves = decision.plan.transfers  # two parts of one page, the second page first
    front = replace(moves, **{name: getattr(moves, name)[1:] for name in moves.__slots__})
    with pytest.raises(PlanRefutedError, match=r"slice 1 .* can never start"):
        _run(replace(decision, plan=replace(decision.plan, transfers=front)))


def test_a_fetch_due_after_the_read_comes_too_late() -> None:
    # Back in slice 1 of the next step (4 + 1), but slice 0 reads it.
    timeline = step(["a:r", "", "t:new", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={2: "t"})
    assert in_pages(_run(_sabotaged(timeline, fetch_slice=4, return_slice=4))).pages_in == 1
    with pytest.raises(PlanRefutedError, match="slice 0 reads extent 0: 1 of its pages are absent"):
        _run(_sabotaged(timeline, leave_slice=2, fetch_slice=5, return_slice=5))


def test_a_fetch_at_the_last_moment_is_a_stall() -> None:
    result = in_pages(_run(_sabotaged(ROOM_FOR_T, fetch_slice=4)))
    assert result == replace(HONEST, step_s=HONEST.step_s + 1, stall_s=HONEST.stall_s + 1)


def test_leaving_before_the_last_use_is_refused() -> None:
    # Nothing has come yet that could leave before slice 1; what slice 1 then brings in stays, and there is no room for t.
    timeline = step(["", "a:r", "t:new", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={2: "t"})
    assert in_pages(_run(_sabotaged(timeline))).pages_in == 1
    with pytest.raises(PlanRefutedError, match=r"slice 2 .* can never start"):
        _run(_sabotaged(timeline, write_slice=1, leave_slice=1))


def test_what_left_too_early_is_taken_back_while_it_is_still_there() -> None:
    # a is dirty and its page has not been written when slice 1 needs it again: it stays, and then there is no room for t.
    timeline = step(["a:rw", "a:r", "t:new", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={2: "t"})
    with pytest.raises(PlanRefutedError, match=r"slice 2 .* can never start"):
        _run(_sabotaged(timeline, write_slice=1, leave_slice=1))


def test_a_late_write_shows_as_a_stall() -> None:
    # Written before slice 2, where its room is needed (2 s); early, while slice 1 reads it, the write hides behind 5 s.
    timeline = step(
        ["a:rw", "a:r", "t:new", ""],
        pages={"a": 2, "t": 1},
        fast_pages=2,
        frees={2: "t"},
        duration_s=[1, 5, 1, 1],
    )
    assert in_pages(_run(_sabotaged(timeline))) == SteadyStep(pages_in=1, pages_out=1, step_s=8, stall_s=0)
    late = _sabotaged(timeline, write_slice=2)
    assert in_pages(_run(late)) == SteadyStep(pages_in=1, pages_out=1, step_s=10, stall_s=2)


def test_a_write_before_the_content_is_final_costs_its_bytes() -> None:
    # Written while slice 0 makes the next content: those bytes are lost and show, the page is written again.
    timeline = step(
        ["a:rw", "a:rw", "t:new", ""],
        pages={"a": 2, "t": 1},
        fast_pages=2,
        frees={2: "t"},
        duration_s=[1, 5, 1, 1],
    )
    assert in_pages(_run(_sabotaged(timeline))).pages_out == 1
    assert in_pages(_run(_sabotaged(timeline, write_slice=1))).pages_out == 2


def test_a_fetch_without_room_is_refused() -> None:
    # a steps aside for u (2 pages) in slice 2. Fetched in slice 1 already, it finds room beside t, and then u does not.
    timeline = step(
        ["a:r", "t:new", "u:new", ""], pages={"a": 1, "t": 1, "u": 2}, fast_pages=2, frees={1: "t", 2: "u"}
    )
    assert in_pages(_run(_sabotaged(timeline))) == SteadyStep(pages_in=1, pages_out=0, step_s=4, stall_s=0)
    with pytest.raises(PlanRefutedError, match=r"slice 2 .* can never start"):
        _run(_sabotaged(timeline, fetch_slice=1))


def test_a_fetch_waits_for_the_room_of_the_slice_that_runs() -> None:
    # Fetched as soon as it left, it gets its room back only when t is dead: the same step.
    assert in_pages(_run(_sabotaged(ROOM_FOR_T, fetch_slice=2))) == HONEST
    clean = step(["a:r", "t:new", "", ""], pages={"a": 2, "t": 1}, fast_pages=2, frees={1: "t"})
    honest = in_pages(_run(_sabotaged(clean)))
    assert in_pages(_run(_sabotaged(clean, fetch_slice=1))) == honest


def test_a_read_of_what_was_freed_is_refused() -> None:
    # The step says that slice 1 makes no use of x, so x is freed after slice 0; but slice 1 reads it.
    timeline = step(["x:new", "x:r"], pages={"x": 1}, fast_pages=1, frees={1: "x"})
    wrong = replace(timeline, accesses=replace(timeline.accesses, next_slice=np.array([-1, -1], np.int32)))
    with pytest.raises(PlanRefutedError, match="slice 1 reads extent 0, whose content was freed"):
        simulated("tmtrain", wrong, MACHINE)


def test_a_transfer_of_pages_that_are_not_there_is_refused() -> None:
    with pytest.raises(PlanRefutedError, match="moves pages 0 to 3 of extent 0, which has 2"):
        _run(_sabotaged(ROOM_FOR_T, pages=3))


def test_books_that_do_not_balance_are_a_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Engine):
        def run(self) -> SteadySteps:
            steady = super().run()
            wrong = replace(steady.shown, resident_end=steady.shown.resident_end - 1)
            return replace(steady, steps=(wrong,))

    monkeypatch.setattr(run, "Engine", Forgetful)
    with pytest.raises(InternalError, match=r"lost 4096 bytes of a step: .* please report it"):
        _run(decided("tmtrain", ROOM_FOR_T, MACHINE))
