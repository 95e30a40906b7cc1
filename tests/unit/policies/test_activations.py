"""What the systems that offload activations do on steps small enough for paper; one second and one operator per slice."""

from collections.abc import Sequence

import numpy as np
import pytest
from tests.support.phased import phased_step
from tests.support.simulated import SteadyStep, decided, in_pages, pages_per_second, steady_step

from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies import make_policy
from tmtrain.policies.planners.ssdtrain import SsdTrain
from tmtrain.simulation import try_policy


def _chain(fast_pages: int, *, convolutions: Sequence[int] = (), lull_s: float = 1.0) -> Timeline:
    """Return three layers that make a, b, c (1 page each) from one another, and read them backwards after a lull."""
    return phased_step(
        ["a:new", "a:r b:new", "b:r c:new", "", "c:r", "b:r", "a:r"],
        "fffbbbb",
        pages={"a": 1, "b": 1, "c": 1},
        fast_pages=fast_pages,
        frees={4: "c", 5: "b", 6: "a"},
        duration_s=[1, 1, 1, lull_s, 1, 1, 1],
        operators={t: f"aten.convolution{'_backward' if t > 3 else ''}.default" for t in convolutions},
    )


def _transfers(policy: str, timeline: Timeline, machine: Machine) -> list[tuple[int, int, int, int, int]]:
    """Return (extent, write, leave, fetch, return) of what the policy moves."""
    plan = decided(policy, timeline, machine).plan
    assert plan is not None
    moves = plan.transfers
    columns = (moves.extent, moves.write_slice, moves.leave_slice, moves.fetch_slice, moves.return_slice)
    return sorted(zip(*(c.tolist() for c in columns), strict=True))


def test_flashneuron_selects_the_first_activations_until_the_rest_fits() -> None:
    # Slices 2 to 4 would hold a, b and c. With room for 2 one has to go: a, the first. It leaves after slice 1, and
    # backward, from slice 3 on, has room for it when c has died, after slice 4.
    machine = pages_per_second()
    assert _transfers("flashneuron", _chain(2), machine) == [(0, 2, 2, 5, 6)]
    # Written before slice 2 can make c: 1 s, exposed. Fetched in slice 5: 1 s, hidden.
    assert steady_step("flashneuron", _chain(2), machine) == SteadyStep(
        pages_in=1, pages_out=1, step_s=8, stall_s=1
    )
    # With room for 3 none has to go.
    assert _transfers("flashneuron", _chain(3), machine) == []


def test_flashneuron_leaves_weights_to_demand_paging() -> None:
    # w (2 pages) and t (1) share 2 pages of room: no activation is there to offload; a page of w is read again, 1 s.
    timeline = phased_step(
        ["w:r", "t:new", "w:r"], "fbo", pages={"w": 2, "t": 1}, fast_pages=2, frees={1: "t"}
    )
    assert steady_step("flashneuron", timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=4, stall_s=1
    )


def test_vdnn_offloads_every_input_beside_the_layer_that_reads_it() -> None:
    # a is read last by slice 1 of forward: written from then on, gone after it; b likewise in slice 2. c is made in slice 2
    # and read by none of forward's layers, but backward needs it: it leaves for the lull. In backward each operator fetches
    # one: slice 3 fetches c, slice 4 b, slice 5 a.
    machine = pages_per_second()
    assert _transfers("vdnn-all", _chain(3), machine) == [(0, 1, 2, 5, 6), (1, 2, 3, 4, 5), (2, 3, 3, 3, 4)]
    # a is written in slice 1, b in slice 2. c is asked for again before its write has begun, and stays; b comes back in
    # slice 4, a in slice 5: all hidden. c's page is written all the same, in slice 3.
    assert steady_step("vdnn-all", _chain(3), machine) == SteadyStep(
        pages_in=2, pages_out=3, step_s=7, stall_s=0
    )


def test_vdnn_prefetches_no_further_than_the_next_convolution() -> None:
    # Backward waits in slices 3 and 4, and reads c, b, a in slices 5, 6, 7. Without convolutions each operator of it
    # fetches one tensor: slice 3 c, slice 4 b, slice 5 a.
    timeline = _with_two_lulls(())
    assert _fetches("vdnn-all", timeline) == {"c": 3, "b": 4, "a": 5}
    # Where slice 5 is a convolution, slice 4 looks no further, and finds nothing: c is on its way. So b is left to slice 5.
    assert _fetches("vdnn-all", _with_two_lulls((5,))) == {"c": 3, "b": 5, "a": 6}


def _with_two_lulls(convolutions: Sequence[int]) -> Timeline:
    return phased_step(
        ["a:new", "a:r b:new", "b:r c:new", "", "", "c:r", "b:r", "a:r"],
        "fffbbbbb",
        pages={"a": 1, "b": 1, "c": 1},
        fast_pages=3,
        frees={5: "c", 6: "b", 7: "a"},
        operators=dict.fromkeys(convolutions, "aten.convolution_backward.default"),
    )


def _fetches(policy: str, timeline: Timeline) -> dict[str, int]:
    moves = _transfers(policy, timeline, pages_per_second())
    return {"abc"[extent]: fetch for extent, _, _, fetch, _ in moves}


def test_vdnn_conv_offloads_the_inputs_of_convolutions_alone() -> None:
    # Slice 1 is the only convolution of forward: it reads a and makes b.
    moves = _transfers("vdnn-conv", _chain(3, convolutions=(1,)), pages_per_second())
    assert [extent for extent, *_ in moves] == [0]


def test_vdnn_conv_refuses_a_step_without_convolutions() -> None:
    with pytest.raises(PolicyError, match="vdnn-conv: the step has no convolution in forward"):
        decided("vdnn-conv", _chain(3), pages_per_second())


@pytest.mark.parametrize(
    ("fast_pages", "moved"),
    [pytest.param(3, 0, id="it fits"), pytest.param(2, 1, id="the inputs of convolutions are enough")],
)
def test_vdnn_dyn_keeps_the_fastest(fast_pages: int, moved: int) -> None:
    # With a lull of 4 s everything that can be hidden is. Room for 3: no offload is needed. Room for 2: one page has to be
    # written before c can be made.
    timeline = _chain(fast_pages, convolutions=(1,), lull_s=4.0)
    machine = pages_per_second()
    dyn, every = (
        try_policy(make_policy(name), timeline, machine=machine) for name in ("vdnn-dyn", "vdnn-all")
    )
    assert in_pages(dyn.result).pages_in == moved
    assert dyn.result.step_time_s <= every.result.step_time_s


def test_vdnn_dyn_does_without_convolutions_where_there_are_none() -> None:
    tried = try_policy(make_policy("vdnn-dyn"), _chain(2), machine=pages_per_second())
    same = try_policy(make_policy("vdnn-all"), _chain(2), machine=pages_per_second())
    assert tried.result.step_time_s == same.result.step_time_s


@pytest.mark.parametrize(
    ("write", "offloaded"),
    # Modules are slices 1 (saves a) and 2 (b, c). Forward takes 3 s. Slice 1: V = 2 x 1 page, T = 3 x 3 - 2 x 1 = 7 s.
    # Slice 2: V = 1 + 2 x 2 = 5 pages, T = 9 - 2 x 2 = 5 s. So a takes 2/7 of a page per second, b and c take 1.
    [(0.28, []), (0.29, [0]), (0.99, [0]), (1.0, [0, 1, 2])],
)
def test_ssdtrain_keeps_what_the_ssd_would_fall_behind_with(write: float, offloaded: list[int]) -> None:
    moves = _transfers("ssdtrain", _chain(3), pages_per_second(write=write))
    assert [extent for extent, *_ in moves] == offloaded


def test_ssdtrain_prefetches_a_window_of_operators_ahead() -> None:
    # Returns are due in slices 4, 5 and 6. One operator ahead: b from slice 4, a from slice 5 on; c has none before it and
    # is fetched at once.
    machine = pages_per_second()
    plan = SsdTrain(window=1).decide(_chain(3), machine=machine).plan
    assert plan is not None
    moves = plan.transfers
    order = np.argsort(moves.extent)
    assert moves.fetch_slice[order].tolist() == [5, 4, 3]
    # a is written in slice 2 (1 s), b in slice 3; c stays, as its write has not begun. All is hidden.
    got = try_policy(make_policy("ssdtrain"), _chain(3), machine=machine)
    assert in_pages(got.result).stall_s == 0
