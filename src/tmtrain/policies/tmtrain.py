"""Ours: the optimal placement of `tmtrain.plan`, followed to the letter."""

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan import plan
from tmtrain.policies.policy import Decision, Knowledge, Policy


class Tmtrain(Policy):
    """Static optimal placement with proactive transfers."""

    name = "tmtrain"

    def __init__(self, objective: str = "energy") -> None:
        self._objective = objective

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Plan the step."""
        made = plan(timeline, machine=machine, objective=self._objective)
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=made)
