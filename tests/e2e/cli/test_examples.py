"""The examples run, on small sizes, and show what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.programs import run_script

from tmtrain.cli.app import main

EXAMPLES = Path(__file__).parents[3] / "examples"


def _run_alone(*argv: str | Path) -> str:
    done = subprocess.run([sys.executable, "-W", "error", *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_own_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["capture", f"{EXAMPLES / 'own_model.py'}:step", "--samples", "32", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == 32
    assert said["parameters"] == 3 * 32 * 9 + 32 + 2 * 32 + 32 * 64 * 9 + 64 + 64 * 10 + 10
    assert said["footprint_by_role_bytes"]["activation"] > said["footprint_by_role_bytes"]["parameter"]


def test_own_step() -> None:
    lines = run_script(EXAMPLES / "own_step.py").splitlines()
    joules = {line.split()[0]: float(line.split()[-2]) for line in lines[:3]}
    bound = float(lines[-1].split()[-2])
    assert bound <= joules["tmtrain"] <= min(joules.values())


def test_how_little_memory() -> None:
    rows = [
        line.split() for line in run_script(EXAMPLES / "how_little_memory.py", "gpt2-tiny").splitlines()[2:]
    ]
    traffic = [float(row[2]) for row in rows if len(row) == 4]
    assert len(traffic) >= 3
    assert traffic == sorted(traffic)


def test_selective_checkpointing() -> None:
    lines = run_script(EXAMPLES / "selective_checkpointing.py").splitlines()
    kept = {
        line.split(":")[0]: int(line.split()[-2].replace(",", ""))
        for line in lines
        if line.endswith(" bytes")
    }
    assert kept["kept for backward with the policy"] < kept["kept for backward without"]
    assert lines[-1] == "losses of three steps: the same bit for bit"


@pytest.mark.slow
def test_a_training_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    example = EXAMPLES / "checkpoints_in_a_budget.py"
    (tmp_path / "at once").mkdir()
    (tmp_path / "twice").mkdir()
    whole = run_script(example, "12MiB", tmp_path / "at once", "6").splitlines()
    run_script(example, "12MiB", tmp_path / "twice", "6", "5")  # saved after four steps
    rest = run_script(example, "12MiB", tmp_path / "twice", "6").splitlines()
    assert [line for line in rest if line.startswith("step")] == whole[4:6]


def test_an_image_model_in_a_budget(tmp_path: Path) -> None:
    lines = run_script(EXAMPLES / "vision_in_a_budget.py", "8MiB", tmp_path, "5").splitlines()
    assert [line.split()[:2] for line in lines[:5]] == [["step", str(number)] for number in range(5)]
    assert lines[-1].startswith("the last step: planned")


def test_the_trainer_of_transformers_in_a_budget(tmp_path: Path) -> None:
    lines = run_script(EXAMPLES / "trainer_in_a_budget.py", "16MiB", tmp_path, "6").splitlines()
    losses = [float(line.split()[3]) for line in lines if line.split()[2] == "loss"]
    assert len(losses) == 6
    assert losses[5] < losses[0]
    assert sum(line.split()[2] == "eval_loss" for line in lines) == 2
    assert lines[-1].startswith("the last step: planned")
    assert (tmp_path / "trained" / "checkpoint-6" / "model.safetensors").exists()


def test_a_model_larger_than_its_memory(tmp_path: Path) -> None:
    lines = _run_alone(EXAMPLES / "larger_than_memory.py", tmp_path, "192MiB", "4", "2", "100").splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [["step", str(number)] for number in range(4)]
    assert lines[3].endswith("planned")
    losses = [float(line.split()[3]) for line in lines[:4]]
    assert losses[3] < losses[0]


def test_every_example_is_tested() -> None:
    here = (
        "own_model own_step how_little_memory selective_checkpointing checkpoints_in_a_budget "
        "vision_in_a_budget trainer_in_a_budget larger_than_memory"
    )
    elsewhere = "gpt_in_a_budget"  # test_train.py
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*here.split(), elsewhere}
