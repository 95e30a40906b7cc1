"""What `import tmtrain` gives, and what it costs."""

import pkgutil
import subprocess
import sys

import pytest

import tmtrain

VERBS_AND_VALUES = (
    "POLICIES ZOO __version__ capture capture_function capture_model check_plan describe_machine "
    "evaluate explain export list_machines min_fast pareto load_checkpoint load_checkpoint_policy "
    "load_machine load_offload_map load_plan load_result load_trace lower make_policy parse_bytes "
    "parse_fast plan read_results results_table save_plan save_result save_trace simulate trace_of "
    "train write_perfetto write_report"
)
TYPES = (
    "Certificate CheckReport Decision Exported FastCapacity Machine Phase Plan Policy Prediction "
    "Result Results Role Row RunResult StepMeasure StepOptions Study Timeline Trace Violation"
)
ERRORS = (
    "CaptureError FileFormatError FlashError InfeasibleError InputError InternalError MachineError "
    "PlanRefutedError PolicyError SolverError TimeLimitError TmtrainError WorkerDiedError"
)


def _fresh(code: str) -> str:
    """Run `code` in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_public_names_are_these() -> None:
    assert sorted(tmtrain.__all__) == sorted(f"{VERBS_AND_VALUES} {TYPES} {ERRORS}".split())


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


def test_every_module_imports_by_its_own_path() -> None:
    modules = [module.name for module in pkgutil.walk_packages(tmtrain.__path__, "tmtrain.")]
    code = "".join(f"import {name} as m; assert m.__name__ == {name!r}\n" for name in modules)
    assert len(modules) > 300
    _fresh(code)


def test_no_room_has_the_name_of_a_verb() -> None:
    rooms = {module.name for module in pkgutil.iter_modules(tmtrain.__path__)}
    assert not rooms & set(tmtrain.__all__)
