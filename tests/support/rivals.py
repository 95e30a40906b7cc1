"""Other people's policies on a step."""

from collections.abc import Iterable, Iterator

from tmtrain.errors import InfeasibleError, PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.policies import POLICIES, make_policy
from tmtrain.simulation import Tried, objective_of, try_policy

RIVALS = tuple(name for name in POLICIES if name != "all-fast" and not name.startswith("tmtrain"))


def tried_rivals(
    timeline: Timeline, *, machine: Machine, objective: str, rivals: Iterable[str] = RIVALS
) -> Iterator[tuple[str, Tried, float]]:
    """Yield each that runs this step in this memory, its run, and what it needs of the objective, at its best."""
    goal = make_objective(objective, timeline=timeline, machine=machine)
    for name in rivals:
        try:
            tried = try_policy(make_policy(name), timeline, machine=machine, objective=objective)
        except (InfeasibleError, PolicyError):
            continue
        yield name, tried, objective_of(tried.result, goal)
