"""The commands and their options: what scripts rely on."""

import ast
from pathlib import Path

import pytest
from cyclopts import App
from cyclopts.argument import Argument

import tmtrain.cli.commands
from tmtrain.cli.app import COMMANDS, main, make_app

MODEL = "--batch --sequence --precision --attention --operators --optimizer --checkpointing"
SURFACE = {
    "capture": f"SOURCE --out --samples --step {MODEL} --json",
    "plan": (
        f"SOURCE --machine --fast --objective --no-recompute --out --samples --step --calibration {MODEL} "
        "--write-budget --min-life --time-limit --pareto --min-fast --max-slowdown --max-energy --json"
    ),
    "explain": f"SOURCE PLAN TENSOR --machine --samples --step --calibration {MODEL} --json",
    "check": "TRACE PLAN --machine --calibration --samples --step --json",
    "export": (
        f"SOURCE PLAN --to --out --machine --device --layers --samples --step --calibration {MODEL} --json"
    ),
    "simulate": (
        "SOURCE --machine --fast --policy --objective --plan --perfetto --out --samples --step --calibration "
        f"{MODEL} --steps --jitter --slow-flash --drift --one-off --seed --monitor --json"
    ),
    "train": (
        "TARGET --budget --flash --steps --objective --machine --checkpoint --save-every --no-monitor --dry-run --json"
    ),
    "flash": (
        "SOURCE --machine --fast --policy --objective --plan --steps --fill --joined-pages --samples "
        f"{MODEL} --json"
    ),
    "evaluate": (
        "MODELS --out --suite --quick --machine --fast --objective --policy --no-sensitivity --no-monitor "
        f"--calibration "
        f"{MODEL} --jobs --resume --force --json"
    ),
    "report": "FOLDER --json",
    "machine list": "--json",
    "machine show": "NAME_OR_FILE --json",
    "machine measure": "FOLDERS --out --json",
    "machine validate": "--json",
    "doctor": "--json",
}


def _commands(app: App, prefix: str = "") -> dict[str, App]:
    """Return the commands that run something, by what one types."""
    commands: dict[str, App] = {}
    for name in app:
        if not name.startswith("-"):
            below = _commands(app[name], f"{prefix}{name} ")
            commands |= below or {f"{prefix}{name}": app[name]}
    return commands


def _arguments(command: App) -> list[Argument]:
    """Return what may be given, without the "*" that stands for all options of a model."""
    collection = command.assemble_argument_collection(parse_docstring=True)
    return [argument for argument in collection if argument.name != "*"]


def test_the_commands_and_options_are_these() -> None:
    surface = {
        typed: " ".join(name for argument in _arguments(command) for name in argument.names)
        for typed, command in _commands(make_app()).items()
    }
    assert surface == SURFACE


@pytest.mark.parametrize("typed", SURFACE)
def test_each_option_is_explained(typed: str) -> None:
    for argument in _arguments(_commands(make_app())[typed]):
        assert argument.parameter.help, argument.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_overview_says_what_the_command_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert COMMANDS[name] in " ".join(capsys.readouterr().out.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f" {name} " in shown for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{tmtrain.__version__}\n"


def test_command_functions_are_thin() -> None:
    """A command parses, calls and prints: at most 40 lines without its docstring."""
    for name in COMMANDS:
        tree = ast.parse((Path(tmtrain.cli.commands.__path__[0]) / f"{name}.py").read_text())
        for function in (node for node in tree.body if isinstance(node, ast.FunctionDef)):
            doc = function.body[0] if ast.get_docstring(function) else None
            doc_lines = (doc.end_lineno or 0) - doc.lineno + 1 if doc else 0
            assert (function.end_lineno or 0) - function.lineno + 1 - doc_lines <= 40, function.name
