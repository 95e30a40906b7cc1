"""Largest-first greedy offload, whole tensors.

Source: the proposal "offload the largest first until the budget is met" for FSDP2 (pytorch/pytorch #188120,
`cpu_offload_by_budget`), there for the parameters of modules; here, in the rival's favour, for every tensor of the step:
the largest tensors are offloaded first, each for all its gaps, until every slice fits. Transfers are scheduled by our own
scheduler (early writes, prefetch), which the proposal does not have.
"""

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import make_plan
from tmtrain.planning.placing.greedy import largest_first
from tmtrain.planning.problem.problem import build_problem


class LargestFirst(Policy):
    """Offload whole tensors, largest first, until the rest fits."""

    name = "largest-first"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose the tensors to offload and schedule them."""
        problem = build_problem(timeline)
        moved = largest_first(problem, timeline)
        plan = make_plan(problem, moved, timeline=timeline, machine=machine, objective=self.name)
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=plan)
