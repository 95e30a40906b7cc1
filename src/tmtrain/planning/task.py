"""What is to be planned: a step on a machine, an objective, and limits."""

from dataclasses import dataclass

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.programme.solve import Limits, Placement, solve
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.plans.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningTask:
    """What is to be planned."""

    timeline: Timeline
    """Without recomputations."""
    machine: Machine
    problem: Problem
    objective: Objective
    limits: Limits

    @property
    def has_write_budget(self) -> bool:
        """Whether writes are limited."""
        return self.limits.write_budget_bytes is not None

    @property
    def leads_matter(self) -> bool:
        """Whether seconds cost anything, so that waiting for the drive does."""
        return self.objective.per_second > 0

    def solve(self, candidates: RecomputeCandidates | None, *, write_share: float = 1.0) -> Placement:
        """Solve its programme, with so much of the write budget."""
        return solve(
            self.problem,
            timeline=self.timeline,
            machine=self.machine,
            objective=self.objective,
            candidates=candidates,
            limits=self.limits.of(write_share),
        )

    def keeps_budget(self, plan: Plan) -> bool:
        """Whether `plan` writes no more than it may."""
        budget = self.limits.write_budget_bytes
        return budget is None or plan.prediction.bytes_out <= budget


def make_task(timeline: Timeline, *, machine: Machine, objective: str, limits: Limits) -> PlanningTask:
    """Put a step, a machine, an objective and limits together.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return PlanningTask(
        timeline=timeline, machine=machine, problem=build_problem(timeline), objective=goal, limits=limits
    )
