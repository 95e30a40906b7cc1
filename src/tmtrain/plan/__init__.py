"""Timeline -> Plan: the problem, its solution, its schedule on the link, its certificate."""

from tmtrain.plan.file import check_plan_fits, check_transfers_fit, load_plan, save_plan
from tmtrain.plan.objective import check_objective
from tmtrain.plan.plan import Bound, Certificate, Plan, Prediction, Transfers
from tmtrain.plan.planner import bound_of, plan
from tmtrain.plan.prediction import make_plan

__all__ = [
    "Bound",
    "Certificate",
    "Plan",
    "Prediction",
    "Transfers",
    "bound_of",
    "check_objective",
    "check_plan_fits",
    "check_transfers_fit",
    "load_plan",
    "make_plan",
    "plan",
    "save_plan",
]
