"""All rooms together: models x machines x capacities x policies -> rows."""

from tmtrain.evaluate.compare import Outcome, run_policy
from tmtrain.evaluate.evaluate import Study, evaluate
from tmtrain.evaluate.row import SCHEMA, Bounds, Cost, Refusal, Results, Row, WallClock
from tmtrain.evaluate.sensitivity import SENSITIVITY_SCHEMA, Case, Sensitivity
from tmtrain.evaluate.setting import Setting, make_setting
from tmtrain.evaluate.source import trace_of

__all__ = [
    "SCHEMA", "SENSITIVITY_SCHEMA", "Bounds", "Case", "Cost", "Outcome", "Refusal", "Results", "Row", "Sensitivity",
    "Setting", "Study", "WallClock", "evaluate", "make_setting", "run_policy", "trace_of",
]  # fmt: skip
