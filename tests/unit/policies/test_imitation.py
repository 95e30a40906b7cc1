"""What a policy did is a plan: it moves the same, and runs without the policy."""

from dataclasses import replace

import pytest
from hypothesis import given
from tests.support.steps import links, steps
from tests.support.thoroughness import examples

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.planning.example import example_timeline
from tmtrain.policies import follow, make_policy
from tmtrain.policies.ours.imitation import imitate
from tmtrain.simulation import simulate, try_policy
from tmtrain.testing import make_timeline

PAGERS = ("lru", "belady", "fifo", "deepum", "sentinel")


@pytest.mark.parametrize("name", PAGERS)
@given(timeline=steps(), machine=links())
@examples(60)
def test_pages_that_leave_at_once_come_in_as_they_did(
    name: str, timeline: Timeline, machine: Machine
) -> None:
    tried = try_policy(make_policy(name), timeline, machine=machine)
    if tried.result.measured_steps > 1:
        return  # a step of a cycle is no steady one
    plan = imitate(tried.result, tried.decision, machine=machine)
    again = simulate(follow(plan, timeline, machine=machine), machine=machine, policy=name)
    # Less where it came in twice in one gap, or went out dead or for nothing, or had not left yet.
    assert again.bytes_in <= tried.result.bytes_in
    assert again.bytes_out <= tried.result.bytes_out
    assert plan.prediction.bytes_in <= tried.result.bytes_in


def test_an_imitation_of_a_pager_works_ahead() -> None:
    """Belady fetches and writes when a slice waits; the plan does the same while others run."""
    timeline, machine = example_timeline(), load_machine("v4-slc")
    tried = try_policy(make_policy("belady"), timeline, machine=machine)
    plan = imitate(tried.result, tried.decision, machine=machine)
    again = simulate(follow(plan, timeline, machine=machine), machine=machine, policy="belady")
    assert again.bytes_in == tried.result.bytes_in > 0
    assert again.step_time_s < tried.result.step_time_s


def test_an_imitation_fetches_in_the_order_in_which_chunks_were_asked_for() -> None:
    """AutoTM asks for `a` while the last slice runs; the end of it comes in when the next step has begun.

    Those chunks are the first rows of the traffic, and the last to come. A plan that takes them for the first fetches all
    of `a` late, and the step takes 15 % longer.
    """
    machine = load_machine("v4-slc")
    timeline = make_timeline(
        ["a:r c:r", "a:rw", "t:w b:r", "t:w", "c:rw"],
        pages={"a": 100, "b": 240, "c": 100, "t": 100},
        fast_pages=380,
        duration_s=[5e-6, 30e-6, 30e-6, 10e-6, 10e-6],
        page_bytes=machine.slow.page_bytes,
        frees={3: "t"},
    )
    timeline = replace(timeline, machine=machine.name, machine_fingerprint=machine.fingerprint)
    tried = try_policy(make_policy("autotm-async"), timeline, machine=machine, objective="energy")
    plan = imitate(tried.result, tried.decision, machine=machine)
    again = simulate(follow(plan, timeline, machine=machine), machine=machine, policy="autotm-async")
    assert again.step_time_s <= tried.result.step_time_s * (1 + 1e-9)
    assert again.bytes_in == tried.result.bytes_in
