"""tmtrain: plan, prove and simulate training on little fast memory and much flash.

The verbs, in the order of the road: `capture` (or `capture_model`, `capture_function`), `lower`, `plan`, `make_policy` and
`simulate`, `write_report`; `explain` says why a plan does what it does, `pareto` and `min_fast` search over many,
`check_plan` verifies one and its proof; `evaluate` is all of them over models, machines, capacities and policies.

    >>> import tmtrain
    >>> machine = tmtrain.load_machine("v4-slc")
    >>> tmtrain.parse_fast("25%").of(1_000_000, page_bytes=machine.slow.page_bytes)
    249856

Note [Verbs named like rooms]
    `tmtrain.plan` is the verb, and also the room (a package) in which it lives. Names are loaded when they are first asked
    for, so that ``import tmtrain`` stays light; but whenever a room is imported, the import system sets it as an attribute
    of this package, over the verb. `_Surface` turns that down. Rooms are reached by ``from tmtrain.plan import Transfers``,
    verbs by attribute (``tmtrain.plan(...)``) or ``from tmtrain import plan``.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tmtrain.capture import ZOO, StepOptions, capture, capture_function, capture_model
    from tmtrain.check import CheckReport, Violation, check_plan
    from tmtrain.errors import (
        CaptureError,
        FileFormatError,
        FlashError,
        InfeasibleError,
        InputError,
        MachineError,
        PlanRefutedError,
        SolverError,
        TmtrainError,
    )
    from tmtrain.evaluate import Results, Row, Study, evaluate, trace_of
    from tmtrain.export import Exported, export, load_checkpoint_policy, load_offload_map
    from tmtrain.lower import Timeline, lower
    from tmtrain.machine import Machine, describe_machine, list_machines, load_machine
    from tmtrain.plan import Certificate, Plan, Prediction, plan
    from tmtrain.plan.explain import explain
    from tmtrain.plan.file import load_plan, save_plan
    from tmtrain.plan.min_fast import min_fast
    from tmtrain.plan.pareto import pareto
    from tmtrain.policies import POLICIES, Decision, Policy, make_policy
    from tmtrain.report import read_results, results_table, write_perfetto, write_report
    from tmtrain.run import RunResult, StepMeasure, load_checkpoint, train
    from tmtrain.simulate import Result, load_result, save_result, simulate
    from tmtrain.trace import Phase, Role, Trace, load_trace, save_trace
    from tmtrain.units import FastCapacity, parse_bytes, parse_fast

__version__ = "0.1.0"

__all__ = [
    "POLICIES", "ZOO",
    "CaptureError", "Certificate", "CheckReport", "Decision", "Exported", "FastCapacity", "FileFormatError", "FlashError",
    "InfeasibleError", "InputError", "Machine", "MachineError", "Phase", "Plan", "PlanRefutedError", "Policy", "Prediction",
    "Result", "Results", "Role", "Row", "RunResult", "SolverError", "StepMeasure", "StepOptions", "Study", "Timeline",
    "TmtrainError", "Trace", "Violation",
    "__version__",
    "capture", "capture_function", "capture_model", "check_plan", "describe_machine", "evaluate", "explain", "export",
    "list_machines", "load_checkpoint", "load_checkpoint_policy", "load_machine", "load_offload_map", "load_plan",
    "load_result", "load_trace", "lower", "make_policy", "min_fast", "pareto", "parse_bytes", "parse_fast", "plan",
    "read_results", "results_table", "save_plan", "save_result", "save_trace", "simulate", "trace_of", "train",
    "write_perfetto", "write_report",
]  # fmt: skip

_NAMES_BY_HOME = {
    "capture": "ZOO StepOptions capture capture_function capture_model",
    "check": "CheckReport Violation check_plan",
    "errors": (
        "CaptureError FileFormatError FlashError InfeasibleError InputError MachineError PlanRefutedError SolverError "
        "TmtrainError"
    ),
    "evaluate": "Results Row Study evaluate trace_of",
    "export": "Exported export load_checkpoint_policy load_offload_map",
    "lower": "Timeline lower",
    "machine": "Machine describe_machine list_machines load_machine",
    "plan": "Certificate Plan Prediction plan",
    "plan.explain": "explain",
    "plan.file": "load_plan save_plan",
    "plan.min_fast": "min_fast",
    "plan.pareto": "pareto",
    "policies": "POLICIES Decision Policy make_policy",
    "run": "RunResult StepMeasure load_checkpoint train",
    "report": "read_results results_table write_perfetto write_report",
    "simulate": "Result load_result save_result simulate",
    "trace": "Phase Role Trace load_trace save_trace",
    "units": "FastCapacity parse_bytes parse_fast",
}
_HOME = {name: home for home, names in _NAMES_BY_HOME.items() for name in names.split()}


class _Surface(ModuleType):
    """This package; see Note [Verbs named like rooms]."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _HOME or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Surface


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
