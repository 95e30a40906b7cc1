"""``tmtrain train``: what it says before, what it does, and what it refuses."""

import json
from pathlib import Path
from statistics import median

import pytest
from tests.support.programs import run_script
from tests.support.trainings import plan_alike

from tmtrain import load_checkpoint, load_machine, parse_bytes
from tmtrain.cli.app import main
from tmtrain.machine import lifetime_s
from tmtrain.runtime.host.drive import DriveRates
from tmtrain.runtime.host.measure import HostRates, machine_text

EXAMPLE = Path(__file__).parents[3] / "examples" / "gpt_in_a_budget.py"
JOB = f"{EXAMPLE}:job"
TWO_LAYERS = """
import torch

def job():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU(), torch.nn.Linear(256, 256))
    optimizer = torch.optim.AdamW(model.parameters())

    def step():
        model(torch.randn(64, 256)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step
"""


def _host(folder: Path) -> Path:
    host = folder / "host.toml"
    if not host.exists():
        assert main(["machine", "measure", str(folder), "--out", str(host)]) == 0
    return host


def _said(capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, object]:
    assert main(["train", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_run_is_laid_beside_its_prediction(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan_alike(monkeypatch)
    host = _host(tmp_path)
    assert "drive reads" in capsys.readouterr().out
    # A plan for the fewest bytes is the same on a busy host, which takes longer.
    options = ("--budget", "33%", "--objective", "bytes")
    arguments = (JOB, *options, "--flash", str(tmp_path), "--machine", str(host))
    foreseen = _said(capsys, *arguments, "--dry-run")
    run = _said(capsys, *arguments, "--steps", "9")
    assert run["foreseen"] == foreseen
    measured = run["measured"]
    assert isinstance(measured, dict)
    steps = measured["steps"]
    assert [step["how"] for step in steps] == ["on demand"] * 2 + ["planned"] * 7
    assert max(step["peak_bytes"] for step in steps) <= measured["budget_bytes"] == foreseen["budget_bytes"]
    # The capture on fake tensors foresees the bytes of the real step; the simulator knows the recorded one.
    read = median(step["bytes_in"] for step in steps[3:])  # where the host was busy, a step moves more
    assert read == pytest.approx(foreseen["bytes_in"], rel=0.1)
    assert read == pytest.approx(run["simulated_bytes_in"], rel=0.1)
    # The first planned step begins with what the one before had left: it is not steady.
    per_second = sum(step["bytes_out"] for step in steps[3:]) / sum(step["step_time_s"] for step in steps[3:])
    assert run["written_bytes_per_day"] == pytest.approx(86400 * per_second)
    life_s = lifetime_s(load_machine(host).slow, written_bytes_per_s=per_second)
    assert run["drive_life_s"] == pytest.approx(life_s)


@pytest.mark.parametrize(
    ("capacity", "objective", "warned"),
    [
        (
            "1GiB",
            "time",
            "a day: say --objective writes, which computes more twice, or give a larger --budget",
        ),
        ("1GiB", "writes", "a day: give a larger --budget, or more or larger drives"),
        ("1000000TiB", "time", ""),
    ],
)
def test_a_run_that_wears_the_drive_out_within_a_year_is_warned_of(
    capacity: str, objective: str, warned: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host = tmp_path / "host.toml"
    host.write_text(machine_text(_host_rates(drive_bytes=parse_bytes(capacity))))
    arguments = (JOB, "--budget", "33%", "--flash", str(tmp_path), "--machine", str(host))
    assert main(["train", *arguments, "--objective", objective, "--dry-run", "--json"]) == 0
    shown = capsys.readouterr()
    warning = "".join(json.loads(shown.out)["warnings"])
    assert bool(warning) == bool(warned)
    assert warning in shown.err
    assert warned in warning


def _host_rates(drive_bytes: int) -> HostRates:
    return HostRates(
        drive=DriveRates(read_bytes_per_s=2e9, write_bytes_per_s=1e9, shared_bytes_per_s=2.5e9),
        drive_bytes=drive_bytes,
        threads=2,
        matrix_flops_per_s=1e11,
        vector_ops_per_s=1e9,
        memory_bytes_per_s=1e10,
        operator_s=1e-6,
        memory_bytes=8 << 30,
        cache_bytes=32 << 20,
    )


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"--budget": "1MiB"}, "needs 1.98 MiB at once, more than any other; the budget has 1.00 MiB"),
        ({"--flash": "/dev/shm"}, "which is memory itself"),
        ({"--steps": "0"}, "--steps is 0: train for at least 1"),
        ({"--checkpoint": "/no/where.safetensors"}, "nothing can be written into /no"),
        ({"--save-every": "2"}, "--save-every 2: say how many steps, at least 1, and --checkpoint FILE"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_spent(
    change: dict[str, str], match: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = {"--budget": "33%", "--flash": str(tmp_path)} | change
    assert main(["train", JOB, *(word for pair in arguments.items() for word in pair)]) == 1
    assert match in capsys.readouterr().err


def test_a_run_goes_on_from_its_checkpoint_bit_for_bit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_once, in_turns = tmp_path / "at-once.safetensors", tmp_path / "in-turns.safetensors"
    file = tmp_path / "mine.py"
    file.write_text(TWO_LAYERS)
    arguments = (f"{file}:job", "--budget", "1MiB", "--flash", str(tmp_path))
    _said(capsys, *arguments, "--steps", "4", "--checkpoint", str(at_once))
    for _ in range(2):
        _said(capsys, *arguments, "--steps", "2", "--checkpoint", str(in_turns))
    assert _tensors(in_turns) == _tensors(at_once)


@pytest.mark.slow
def test_what_was_saved_on_the_way_outlives_a_run_that_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    file = tmp_path / "mine.py"
    arguments = (
        f"{file}:job",
        "--budget",
        "1MiB",
        "--flash",
        str(tmp_path),
        "--machine",
        str(_host(tmp_path)),
    )
    capsys.readouterr()
    file.write_text(TWO_LAYERS)
    _said(capsys, *arguments, "--steps", "2", "--checkpoint", str(whole))
    file.write_text(TWO_LAYERS.replace("step():", "step(count=iter(range(3))):\n        next(count)"))
    with pytest.raises(StopIteration):
        main(["train", *arguments, "--steps", "4", "--checkpoint", str(broken), "--save-every", "2"])
    assert _tensors(broken) == _tensors(whole)


def _tensors(checkpoint: Path) -> list[list[float]]:
    saved = load_checkpoint(checkpoint)
    states = saved["optimizer"]["state"].values()
    return [
        tensor.flatten().tolist() for tensor in (*saved["model"].values(), *(s["exp_avg"] for s in states))
    ]


def test_a_model_on_the_meta_device_is_foreseen_like_one_in_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, host = tmp_path / "mine.py", _host(tmp_path)
    capsys.readouterr()
    said: list[dict[str, object]] = []
    for device in ("cpu", "meta"):
        file.write_text(
            TWO_LAYERS.replace("    model =", f'    with torch.device("{device}"):\n        model =')
        )
        arguments = ("--budget", "1MiB", "--flash", str(tmp_path), "--machine", str(host))
        said.append(_said(capsys, f"{file}:job", *arguments, "--dry-run"))
    assert said[0] == said[1]


def test_a_run_may_have_several_drives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, folders, host = tmp_path / "mine.py", [tmp_path / "one", tmp_path / "two"], tmp_path / "host.toml"
    file.write_text(TWO_LAYERS)
    for folder in folders:
        folder.mkdir()
    assert main(["machine", "measure", *map(str, folders), "--out", str(host)]) == 0
    capsys.readouterr()
    flash = [word for folder in folders for word in ("--flash", str(folder))]
    run = _said(capsys, *flash, f"{file}:job", "--budget", "1MiB", "--machine", str(host), "--steps", "4")
    measured = run["measured"]
    assert isinstance(measured, dict)
    assert measured["steps"][-1]["bytes_out"] > 0


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    assert run_script(EXAMPLE, tmp_path).count("planned") == 8
