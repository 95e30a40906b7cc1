"""The examples run, on small sizes, and show what they say."""

import json
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(*argv: str | Path) -> str:
    done = subprocess.run([sys.executable, "-W", "error", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_model() -> None:
    program = Path(sys.executable).with_name("tmtrain")
    said = json.loads(
        _run(program, "capture", f"{EXAMPLES / 'own_model.py'}:step", "--samples", "32", "--json")
    )
    assert said["samples"] == 32
    assert said["parameters"] == 3 * 32 * 9 + 32 + 2 * 32 + 32 * 64 * 9 + 64 + 64 * 10 + 10
    assert said["footprint_by_role_bytes"]["activation"] > said["footprint_by_role_bytes"]["parameter"]


def test_own_step() -> None:
    lines = _run(EXAMPLES / "own_step.py").splitlines()
    joules = {line.split()[0]: float(line.split()[-2]) for line in lines[:3]}
    bound = float(lines[-1].split()[-2])
    assert bound <= joules["tmtrain"] <= min(joules.values())


def test_how_little_memory() -> None:
    rows = [line.split() for line in _run(EXAMPLES / "how_little_memory.py", "gpt2-tiny").splitlines()[2:]]
    traffic = [float(row[2]) for row in rows if len(row) == 4]
    assert len(traffic) >= 3
    assert traffic == sorted(traffic)


def test_selective_checkpointing() -> None:
    lines = _run(EXAMPLES / "selective_checkpointing.py").splitlines()
    kept = {
        line.split(":")[0]: int(line.split()[-2].replace(",", ""))
        for line in lines
        if line.endswith(" bytes")
    }
    assert kept["kept for backward with the policy"] < kept["kept for backward without"]
    assert lines[-1] == "losses of three steps: the same bit for bit"


def test_every_example_is_tested() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {
        "own_model", "own_step", "how_little_memory", "selective_checkpointing",
    }  # fmt: skip
