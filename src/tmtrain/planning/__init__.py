"""Timeline -> Plans: the problem, its solution, its schedule on the link, its certificate."""

from tmtrain.planning.placing.prediction import make_plan
from tmtrain.planning.planner import bound_of, propose
from tmtrain.planning.problem.objective import check_objective

__all__ = ["bound_of", "check_objective", "make_plan", "propose"]
