"""All rooms together: models x machines x capacities x policies -> rows."""

from tmtrain.evaluation.compare import PolicyOutcome, run_policy
from tmtrain.evaluation.row import SCHEMA, Bounds, Cost, Refusal, Results, Row, WallClock
from tmtrain.evaluation.sensitivity import SENSITIVITY_SCHEMA, Case, Sensitivity
from tmtrain.evaluation.setting import Setting, make_setting
from tmtrain.evaluation.source import trace_of
from tmtrain.evaluation.study import Study
from tmtrain.evaluation.verbs import evaluate

__all__ = [
    "SCHEMA",
    "SENSITIVITY_SCHEMA",
    "Bounds",
    "Case",
    "Cost",
    "PolicyOutcome",
    "Refusal",
    "Results",
    "Row",
    "Sensitivity",
    "Setting",
    "Study",
    "WallClock",
    "evaluate",
    "make_setting",
    "run_policy",
    "trace_of",
]
