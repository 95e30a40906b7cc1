"""What the README shows works: its Python runs, its `tmtrain` lines are understood, its links lead somewhere."""

import re
import shlex
from pathlib import Path

import pytest
from tests.support.programs import run_text

from tmtrain.cli.app import main, make_app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _commands(program: str) -> list[list[str]]:
    """Return the lines of shell blocks that call `program`, as words without comments."""
    lines = [
        line.removeprefix("$ ") for block in _blocks("(?:sh|bash|console)") for line in block.splitlines()
    ]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line and line[0].rpartition("/")[2] == program]


def test_there_is_something_to_check() -> None:
    assert _blocks("python")
    assert len(_commands("tmtrain")) >= 3
    assert ["test"] in _commands("make")


@pytest.mark.parametrize("number", range(len(_blocks("python"))))
def test_python_blocks_run(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_text(_blocks("python")[number])


@pytest.mark.parametrize("line", _commands("tmtrain"), ids=" ".join)
def test_commands_are_understood(line: list[str]) -> None:
    app = make_app()
    command, bound, unused = app.parse_args(line, print_error=True, exit_on_error=False)[:3]
    assert command.__name__.strip("_") in line
    assert not unused
    assert bound.args or {"doctor", "validate"} & set(line)


@pytest.mark.parametrize("line", _commands("make"), ids=" ".join)
def test_make_targets_exist(line: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert set(line) <= set(targets)


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    missing = [link for link in links if "://" not in link and not (ROOT / link.partition("#")[0]).exists()]
    assert not missing


def test_named_machines_exist(capsys: pytest.CaptureFixture[str]) -> None:
    for name in set(re.findall(r"--machine ([\w.-]+)|machine show ([\w.-]+)", README)):
        assert main(["machine", "show", *filter(None, name), "--json"]) == 0
        assert capsys.readouterr().out
