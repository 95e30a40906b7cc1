"""What `import tmtrain` gives, and what it costs."""

import importlib
import subprocess
import sys

import pytest

import tmtrain

VERBS_AND_VALUES = [
    "POLICIES", "ZOO", "__version__", "capture", "capture_function", "capture_model", "check_plan",
    "describe_machine", "evaluate", "explain", "export", "list_machines", "min_fast", "pareto",
    "load_checkpoint", "load_checkpoint_policy", "load_machine", "load_offload_map", "load_plan", "load_result",
    "load_trace", "lower",
    "make_policy", "parse_bytes", "parse_fast", "plan", "read_results", "results_table", "save_plan", "save_result",
    "save_trace", "simulate", "trace_of", "train", "write_perfetto", "write_report",
]  # fmt: skip
TYPES = [
    "Certificate", "CheckReport", "Decision", "Exported", "FastCapacity", "Machine", "Phase", "Plan", "Policy",
    "Prediction", "Result", "Results", "Role", "Row", "RunResult", "StepMeasure", "StepOptions", "Study", "Timeline",
    "Trace", "Violation",
]  # fmt: skip
ERRORS = [
    "CaptureError", "FileFormatError", "FlashError", "InfeasibleError", "InputError", "MachineError", "PlanRefutedError",
    "SolverError", "TmtrainError",
]  # fmt: skip
ROOMS_OF_VERBS = ("capture", "lower", "plan", "export", "simulate", "evaluate")


def _fresh(code: str) -> str:
    """Run `code` in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these() -> None:
    assert sorted(tmtrain.__all__) == sorted([*VERBS_AND_VALUES, *TYPES, *ERRORS])


@pytest.mark.parametrize("name", tmtrain.__all__)
def test_each_public_name_is_there_and_is_seen(name: str) -> None:
    assert getattr(tmtrain, name) is not None
    assert name in dir(tmtrain)


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        tmtrain.nothing  # noqa: B018


def test_import_is_light() -> None:
    heavy = (
        "{'torch', 'transformers', 'matplotlib', 'numpy', 'scipy', 'numba', 'pyarrow', 'rich', 'cyclopts'}"
    )
    assert _fresh(f"import sys, tmtrain; print(sorted({heavy} & set(sys.modules)))").strip() == "[]"


def test_everything_but_capture_works_without_torch() -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers'): sys.modules[name] = None\n"
        "import tmtrain\n"
        "for name in tmtrain.__all__: getattr(tmtrain, name)\n"
        "print(tmtrain.load_machine('v4-slc').name)"
    )
    assert _fresh(code).strip() == "v4-slc"


@pytest.mark.parametrize("room", ROOMS_OF_VERBS)
def test_a_verb_stays_a_verb_when_its_room_is_imported(room: str) -> None:
    code = (
        f"import tmtrain.{room}\n"
        f"from tmtrain.{room} import __name__ as home\n"
        f"from tmtrain import {room}\n"
        f"print(home, callable({room}), {room} is tmtrain.{room})"
    )
    assert _fresh(code).strip() == f"tmtrain.{room} True True"


def test_public_names_are_those_of_their_rooms() -> None:
    for room in ROOMS_OF_VERBS:
        assert getattr(tmtrain, room) is getattr(importlib.import_module(f"tmtrain.{room}"), room)
