"""The two rooms of published systems: pagers decide while the step runs, planners before."""

import pytest
from tests.support.phased import phased_step
from tests.support.simulated import decided, pages_per_second

from tmtrain.policies import POLICIES, make_policy
from tmtrain.policies.shared.schedules import ScheduledPager

CONVOLUTION = phased_step(
    ["x:r w:r a:new", "a:r b:new", "a:r b:r", "w:rw"],
    "ffbo",
    pages={"x": 1, "w": 1, "a": 1, "b": 1},
    fast_pages=3,
    frees={2: "a b"},
    operators={0: "convolution"},
)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_stands_in_the_room_of_those_that_decide_when_it_does(policy: str) -> None:
    decision = decided(policy, CONVOLUTION, pages_per_second())
    is_decided_before = decision.plan is not None or isinstance(decision.pager, ScheduledPager)
    room = type(make_policy(policy)).__module__.removeprefix("tmtrain.policies.").partition(".")[0]
    assert room == ("planners" if is_decided_before else "pagers") or (room == "ours" and is_decided_before)
