"""Timeline -> Plan: the problem, its solution, its schedule on the link, its certificate."""

from tmtrain.plan.file import check_plan_fits, load_plan, save_plan
from tmtrain.plan.objective import check_objective
from tmtrain.plan.plan import Certificate, Plan, Prediction, Transfers
from tmtrain.plan.planner import lower_bound_of, make_plan, plan

__all__ = [
    "Certificate",
    "Plan",
    "Prediction",
    "Transfers",
    "check_objective",
    "check_plan_fits",
    "load_plan",
    "lower_bound_of",
    "make_plan",
    "plan",
    "save_plan",
]
