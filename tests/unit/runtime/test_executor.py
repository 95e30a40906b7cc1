"""Who carries out the plan: what happens between steps, where there is none."""

from typing import Any, cast
from unittest.mock import create_autospec

from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.following.executor import PlanExecutor, _WaitingFetch
from tmtrain.runtime.tier.managed_storage import TierBlock
from tmtrain.runtime.tier.tier import Tier


def test_a_fetch_that_finds_no_room_between_steps_waits_on() -> None:
    """An operator of the user's loop, a logged loss for instance, runs when no plan says what is dead."""
    tier = create_autospec(Tier, instance=True)
    tier.__contains__.return_value = True
    tier.fetch.return_value = False
    executor = PlanExecutor(tier, create_autospec(Recomputer, instance=True))
    waiting = cast(Any, executor)._waiting
    waiting.append(_WaitingFetch(due=3, key=0, block=create_autospec(TierBlock, instance=True)))
    executor.end_step()
    executor.ready(0)
    assert len(waiting) == 1
    tier.fetch.return_value = True
    executor.ready(1)
    assert not waiting
