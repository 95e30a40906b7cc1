"""ZeRO-Infinity's classes on steps small enough for paper; one second and one operator per slice."""

import numpy as np
from tests.support.phased import phased_step
from tests.support.simulated import SteadyStep, decided, in_pages, pages_per_second

from tmtrain.lowering.timeline import Timeline
from tmtrain.policies import make_policy
from tmtrain.policies.planners.zero_infinity import ZeroInfinity
from tmtrain.simulation import simulate, try_policy
from tmtrain.trace import Role

ROLES = {"s": Role.OPTIMIZER_STATE, "p": Role.PARAMETER}


def _step(fast_pages: int) -> Timeline:
    """Return a step with a parameter p (1 page), its state s (2), an activation a (1) and something that passes, x (1)."""
    return phased_step(
        ["p:r a:new", "x:new", "p:r a:r", "", "p:rw s:rw", ""],
        "ffbboo",
        pages={"p": 1, "s": 2, "a": 1, "x": 1},
        fast_pages=fast_pages,
        frees={1: "x", 2: "a"},
        roles=ROLES,
    )


def _offloaded(fast_pages: int) -> str:
    plan = ZeroInfinity(window=0).decide(_step(fast_pages), machine=pages_per_second()).plan
    assert plan is not None
    return "".join("psax"[extent] for extent in np.unique(plan.transfers.extent))


def test_classes_that_move_least_are_offloaded_of_those_that_are_enough() -> None:
    # Slice 1 would hold 5 pages, slices 0 and 2 hold 4, slices 4 and 3 hold p and s. Room for 4: the activation (1 page)
    # or the state (2) has to be away in slice 1; it is the activation. Room for 3: slices 0 and 2 use the activation, the
    # state goes.
    assert [_offloaded(room) for room in (5, 4, 3)] == ["", "a", "s"]


def test_a_class_moves_whole() -> None:
    # s (2 pages) is away from slice 3 on, for x, which lacks a page in the next step, and is fetched when slice 2 asks.
    timeline = phased_step(
        ["x:new", "", "s:rw", ""],
        "ffoo",
        pages={"x": 2, "s": 2},
        fast_pages=3,
        frees={0: "x"},
        roles={"s": Role.OPTIMIZER_STATE},
    )
    machine = pages_per_second()
    decision = ZeroInfinity(window=0).decide(timeline, machine=machine)
    # In slice 3 one page is written, and in slice 0 the other; x has its room when the first is gone. In: 2 s, exposed.
    got = in_pages(simulate(decision, machine=machine, policy="zero-infinity"))
    assert got == SteadyStep(pages_in=2, pages_out=2, step_s=6, stall_s=2)


def test_the_window_is_searched() -> None:
    timeline, machine = _step(3), pages_per_second()
    tried = try_policy(make_policy("zero-infinity"), timeline, machine=machine)
    single = simulate(decided("zero-infinity", timeline, machine), machine=machine, policy="zero-infinity")
    assert tried.result.step_time_s <= single.step_time_s
