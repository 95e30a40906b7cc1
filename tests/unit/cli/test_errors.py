"""Whatever the user gets wrong: one message on stderr, an exit code, nothing on stdout, no traceback."""

import dataclasses
from pathlib import Path

import pytest

from tmtrain.cli.app import main
from tmtrain.plans.file import load_plan, save_plan
from tmtrain.reporting.example import write_example
from tmtrain.trace import example_trace, save_trace


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder with an example trace, plan, evaluation and file of the user's."""
    monkeypatch.chdir(tmp_path)
    save_trace(example_trace(), Path("example.trace"))
    assert main(["plan", "example.trace", "--fast", "20KiB", "--out", "example.plan", "--json"]) == 0
    write_example(tmp_path / "study")
    Path("user.py").write_text(
        "from functools import reduce\n\ndef other():\n    return 1\n\ndef given(size):\n    return size\n\n"
        "def lazy():\n    import torch\n    return torch.nn.LazyLinear(2)\n\n"
        "def broken():\n    raise ValueError('my own bug')\n"
    )
    Path("bad.toml").write_text('schema = 1\nbase = "v4-slc"\n[slow]\npaige = "4 KiB"\n')
    return tmp_path


WRONG = {
    "capture gpt2-xxl": ("unknown model 'gpt2-xxl'", "did you mean 'gpt2-xl'"),
    "capture nothing.py:step": ("no such file: nothing.py",),
    "capture user.py:step": ("has no function 'step'; it has other, given, lazy, broken",),
    "capture user.py": ("user.py does not name a function: write user.py:FUNCTION",),
    "capture user.py:given": ("user.py:given needs size", "give them defaults"),
    "capture user.py:other": ("returned a int", "(model, optimizer, step)"),
    "capture user.py:lazy": ("user.py:lazy failed", "lazy modules have no shapes yet: give their sizes"),
    "capture user.py:broken": ("ValueError: my own bug",),
    "capture nothing.trace": ("no such file: nothing.trace",),
    "capture study": ("study is not a tmtrain bundle",),
    "capture gpt2-tiny --batch 0": ("batch is 0, at least 1 is needed",),
    "capture example.trace --batch 3": ("batch cannot be chosen for example.trace",),
    "capture gpt2-tiny --samples 3": ("--samples", "--batch"),
    "capture example.trace --out study": ("study exists and is not a tmtrain bundle",),
    "export example.trace example.plan --to table --out example.plan": (
        "holds a 'plan', not an older table",
    ),
    "export example.trace example.plan --to fsdp2 --out a.json --device cpu": ("a device is for deepspeed",),
    "export example.trace example.plan --to checkpoint --out a.json --layers ((": (
        "'((' is not a regular expression",
    ),
    "export example.trace nothing.plan --to table --out a": ("no such file: nothing.plan",),
    "plan example.trace --machine v5-slc": ("no machine is called 'v5-slc'", "v4-slc"),
    "plan example.trace --machine bad.toml": ("bad.toml", "slow.paige", "did you mean 'page'"),
    "plan example.trace --fast lots": ("'lots' is not a size",),
    "plan example.trace --fast 120%": ("'120%' is not a share",),
    "plan example.trace --fast 1%": ("aten.mm.default", "needs", "the fast tier has 0 B", "--fast"),
    "simulate example.trace --fast 24KiB --plan example.plan": ("20.00 KiB", "24.00 KiB", "plan it anew"),
    "simulate example.trace --plan example.trace": ("holds a 'trace', a 'plan' is needed",),
    "simulate example.trace --plan example.plan --policy lru": ("--policy lru cannot follow a plan",),
    "simulate example.trace --plan example.plan --objective time": ("--objective", "already made"),
    "simulate example.trace --fast 24KiB --perfetto step.txt": (".json or .json.gz",),
    "evaluate --out out": ("name models", "--suite"),
    "evaluate gpt2 --suite headline --out out": ("leave out gpt2",),
    "evaluate gpt2 --quick --out out": ("--suite",),
    "evaluate gpt2-xxl --out out": ("unknown model",),
    "evaluate example.trace --machine v5-slc --out out": ("no machine is called",),
    "plan example.trace --objective joules": (
        "unknown objective 'joules'",
        "energy, time, bytes, writes",
        "a mix",
    ),
    "plan example.trace --fast 12KiB --no-recompute --write-budget 1B": (
        "[Wear]",
        "short",
        "smallest budget",
    ),
    "plan example.trace --write-budget lots": ("'lots' is not a size",),
    "plan example.trace --min-life 5": ("'5' is not a duration", "5y"),
    "plan example.trace --time-limit 0": ("--time-limit 0 leaves no time",),
    "plan example.trace --pareto --min-fast --max-slowdown 2": ("two questions",),
    "plan example.trace --min-fast": ("exactly one of --max-slowdown, --max-energy and --min-life",),
    "plan example.trace --min-fast --max-slowdown 2 --min-life 5y": ("exactly one of",),
    "plan example.trace --min-fast --max-slowdown 2 --fast 50%": ("leave --fast out",),
    "plan example.trace --pareto --objective time": ("leave --objective out",),
    "plan example.trace --max-slowdown 2": ("are for --min-fast",),
    "plan example.trace --min-fast --max-energy 0.1x": ("no fast memory is enough", "proved by the bound"),
    "explain example.trace example.plan 0.weigth": (
        "no tensor or module '0.weigth'",
        "did you mean 0.weight",
    ),
    "report nowhere": ("nowhere/results.json", "tmtrain evaluate --out nowhere"),
    "machine show v5-slc": ("no machine is called 'v5-slc'",),
}
MISUSED = {
    "evaluate example.trace": ("--out",),
    "plan": ("SOURCE",),
    "simulate example.trace --policy mru": ("mru", "belady"),
    "capture gpt2-tiny --precision int4": ("int4", "bf16"),
    "capture gpt2-tiny --batch many": ("many",),
    "plan example.trace --speed 3": ("--speed",),
    "plann example.trace": ("plann", "plan"),
}


@pytest.mark.parametrize("line", WRONG)
def test_what_cannot_be_used_is_told_in_one_message(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(line.split()) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    complaint = [words for words in shown.err.splitlines() if words.startswith("tmtrain: ")]
    assert len(complaint) == 1
    assert all(words in complaint[0] for words in WRONG[line])
    assert "Traceback" not in shown.err


@pytest.mark.parametrize("line", MISUSED)
def test_a_command_line_that_cannot_be_understood_ends_with_2(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(line.split()) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert all(words in shown.err for words in MISUSED[line])
    assert "Traceback" not in shown.err


def test_nothing_is_computed_or_written_for_a_bad_machine(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "gpt2-tiny", "--machine", "v5-slc", "--out", "out"]) == 1
    assert not (folder / "out").exists()
    assert "capture" not in capsys.readouterr().err


@pytest.mark.parametrize("damage", ["cut", "edit", "lose"])
def test_a_damaged_trace_is_refused(damage: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = folder / "example.trace" / "operators.parquet"
    if damage == "cut":
        table.write_bytes(table.read_bytes()[:-10])
    elif damage == "edit":
        table.write_bytes(table.read_bytes().replace(b"aten", b"ATEN"))
    else:
        table.unlink()
    assert main(["plan", "example.trace"]) == 1
    assert "operators.parquet" in capsys.readouterr().err


def test_a_plan_for_another_step_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = load_plan(folder / "example.plan")
    save_plan(dataclasses.replace(plan, trace_fingerprint="0" * 64), folder / "other.plan")
    assert main(["simulate", "example.trace", "--fast", "20KiB", "--plan", "other.plan"]) == 1
    assert "the plan was made for trace 000000000000" in capsys.readouterr().err
