"""The Plan: what is absent from fast memory when, what is recomputed, the proof, and the file they are kept in."""

from tmtrain.plans.file import check_plan_fits, check_transfers_fit, load_plan, save_plan
from tmtrain.plans.plan import (
    CLASS,
    PROGRAMME,
    Bound,
    Certificate,
    Plan,
    Prediction,
    Transfers,
    optimality_gap,
)

__all__ = [
    "CLASS",
    "PROGRAMME",
    "Bound",
    "Certificate",
    "Plan",
    "Prediction",
    "Transfers",
    "check_plan_fits",
    "check_transfers_fit",
    "load_plan",
    "optimality_gap",
    "save_plan",
]
