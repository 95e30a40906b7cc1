"""Ours as policies: a plan made for the step, with recomputation, or keeping and moving only."""

from tmtrain.deciding import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.ours.following import follow
from tmtrain.policies.ours.verbs import plan


class Tmtrain(Policy):
    """Static plan: keep, move or recompute, with proactive transfers."""

    name = "tmtrain"
    recompute = True

    def __init__(self, objective: str = "energy") -> None:
        self._objective = objective

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Plan the step."""
        ours = plan(timeline, machine=machine, objective=self._objective, recompute=self.recompute)
        return follow(ours, timeline, machine=machine)


class TmtrainMove(Tmtrain):
    """Static optimal placement: the best plan that keeps and moves only."""

    name = "tmtrain-move"
    recompute = False
