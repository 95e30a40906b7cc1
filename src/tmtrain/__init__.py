"""tmtrain: plan, prove and simulate training on little fast memory and much flash.

The verbs, in the order of the road: `capture` (or `capture_model`, `capture_function`), `lower`, `plan`, `make_policy` and
`simulate`, `write_report`; `explain` says why a plan does what it does, `pareto` and `min_fast` search over many,
`check_plan` verifies one and its proof; `evaluate` is all of them over models, machines, capacities and policies.

    >>> import tmtrain
    >>> machine = tmtrain.load_machine("v4-slc")
    >>> tmtrain.parse_fast("25%").of(1_000_000, page_bytes=machine.slow.page_bytes)
    249856
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmtrain.capturing import ZOO, StepOptions, capture, capture_function, capture_model
    from tmtrain.checking import CheckReport, Violation, check_plan
    from tmtrain.deciding import Decision, Policy
    from tmtrain.errors import (
        CaptureError,
        FileFormatError,
        FlashError,
        InfeasibleError,
        InputError,
        InternalError,
        MachineError,
        PlanRefutedError,
        PolicyError,
        SolverError,
        TimeLimitError,
        TmtrainError,
        WorkerDiedError,
    )
    from tmtrain.evaluation import Results, Row, Study, evaluate, trace_of
    from tmtrain.exports import Exported, export, load_checkpoint_policy, load_offload_map
    from tmtrain.lowering import Timeline, lower
    from tmtrain.machine import Machine, describe_machine, list_machines, load_machine
    from tmtrain.plans import Certificate, Plan, Prediction
    from tmtrain.plans.file import load_plan, save_plan
    from tmtrain.policies import POLICIES, make_policy, plan
    from tmtrain.questions.explain import explain
    from tmtrain.questions.min_fast import min_fast
    from tmtrain.questions.pareto import pareto
    from tmtrain.reporting import read_results, results_table, write_perfetto, write_report
    from tmtrain.runtime import RunResult, StepMeasure, load_checkpoint, train
    from tmtrain.simulation import Result, load_result, save_result, simulate
    from tmtrain.trace import Phase, Role, Trace, load_trace, save_trace
    from tmtrain.units import FastCapacity, parse_bytes, parse_fast

__version__ = "0.1.0"

__all__ = [
    "POLICIES",
    "ZOO",
    "CaptureError",
    "Certificate",
    "CheckReport",
    "Decision",
    "Exported",
    "FastCapacity",
    "FileFormatError",
    "FlashError",
    "InfeasibleError",
    "InputError",
    "InternalError",
    "Machine",
    "MachineError",
    "Phase",
    "Plan",
    "PlanRefutedError",
    "Policy",
    "PolicyError",
    "Prediction",
    "Result",
    "Results",
    "Role",
    "Row",
    "RunResult",
    "SolverError",
    "StepMeasure",
    "StepOptions",
    "Study",
    "TimeLimitError",
    "Timeline",
    "TmtrainError",
    "Trace",
    "Violation",
    "WorkerDiedError",
    "__version__",
    "capture",
    "capture_function",
    "capture_model",
    "check_plan",
    "describe_machine",
    "evaluate",
    "explain",
    "export",
    "list_machines",
    "load_checkpoint",
    "load_checkpoint_policy",
    "load_machine",
    "load_offload_map",
    "load_plan",
    "load_result",
    "load_trace",
    "lower",
    "make_policy",
    "min_fast",
    "pareto",
    "parse_bytes",
    "parse_fast",
    "plan",
    "read_results",
    "results_table",
    "save_plan",
    "save_result",
    "save_trace",
    "simulate",
    "trace_of",
    "train",
    "write_perfetto",
    "write_report",
]

_NAMES_BY_HOME = {
    "capturing": "ZOO StepOptions capture capture_function capture_model",
    "checking": "CheckReport Violation check_plan",
    "errors": (
        "CaptureError FileFormatError FlashError InfeasibleError InputError InternalError MachineError PlanRefutedError "
        "PolicyError SolverError TimeLimitError TmtrainError WorkerDiedError"
    ),
    "deciding": "Decision Policy",
    "evaluation": "Results Row Study evaluate trace_of",
    "exports": "Exported export load_checkpoint_policy load_offload_map",
    "lowering": "Timeline lower",
    "machine": "Machine describe_machine list_machines load_machine",
    "questions.explain": "explain",
    "questions.min_fast": "min_fast",
    "questions.pareto": "pareto",
    "plans": "Certificate Plan Prediction load_plan save_plan",
    "policies": "POLICIES make_policy plan",
    "runtime": "RunResult StepMeasure load_checkpoint train",
    "reporting": "read_results results_table write_perfetto write_report",
    "simulation": "Result load_result save_result simulate",
    "trace": "Phase Role Trace load_trace save_trace",
    "units": "FastCapacity parse_bytes parse_fast",
}
_HOME = {name: home for home, names in _NAMES_BY_HOME.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for."""
    if name not in _HOME:
        raise AttributeError(f"module 'tmtrain' has no attribute {name!r}")
    value = getattr(import_module(f"tmtrain.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Name what can be asked for, loaded or not."""
    return sorted({*globals(), *__all__})
