"""The program as a process: exit codes, streams, signals, and a disk that fills up."""

import json
import os
import pty
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.disk import files_of_at_most
from tests.support.thoroughness import rest_slow

from tmtrain.cli.app import main
from tmtrain.trace import example_trace, save_trace

PROGRAM = Path(sys.executable).with_name("tmtrain")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_trace(example_trace(), Path("example.trace"))
    return tmp_path


def _run(line: str, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([PROGRAM, *line.split()], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("other", ["other.trace", pytest.param("gpt2-tiny", marks=pytest.mark.slow)])
def test_the_main_job_on_two_models(other: str) -> None:
    save_trace(replace(example_trace(), model="other"), Path("other.trace"))
    done = _run(f"evaluate {other} example.trace --machine v4-slc --fast 60% --objective energy --out out")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr
    assert done.stdout.count("lower bound") == 3  # one per model, one in the headline
    written = json.loads(Path("out/results.json").read_text())
    assert {row["model"] for row in written["rows"]} == {other.removesuffix(".trace"), "example"}
    assert all(row["gap"] >= 0 for row in written["rows"] if row["policy"] != "all-fast")
    files = {path.name for path in Path("out").iterdir()}
    assert files == {"results.json", "sensitivity.json", "monitor.json", "report.html", "runs"}


def test_options_of_a_zoo_model_reach_the_capture(capsys: pytest.CaptureFixture[str]) -> None:
    line = (
        "capture gpt2-tiny --batch 3 --sequence 8 --precision fp32 --operators cpu --optimizer sgd "
        "--checkpointing full --json"
    )
    assert main(line.split()) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["samples"] == 3
    chosen = {
        "sequence": 8,
        "precision": "fp32",
        "operators": "cpu",
        "optimizer": "sgd",
        "checkpointing": "full",
    }
    assert said["options"].items() >= chosen.items()


def test_a_step_that_needs_values_is_named_with_operator_and_module(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("own.py").write_text(
        "import torch\n"
        "class Picky(torch.nn.Linear):\n"
        "    def forward(self, x):\n"
        "        y = super().forward(x)\n"
        "        return y if y.sum().item() > 0 else -y\n"
        "def step():\n"
        "    model = torch.nn.Sequential(Picky(4, 4))\n"
        "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "    def run():\n"
        "        model(torch.ones(2, 4)).sum().backward()\n"
        "        optimizer.step()\n"
        "        optimizer.zero_grad()\n"
        "    return model, optimizer, run\n"
    )
    assert main(["capture", "own.py:step"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "_local_scalar_dense" in said.err
    assert "module '0'" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("job", rest_slow(["example.trace --fast 60%", "gpt2"]))
def test_ctrl_c_ends_with_130_and_leaves_nothing_half_written(job: str, folder: Path) -> None:
    argv = [PROGRAM, "evaluate", *job.split(), "--jobs", "1", "--out", "out"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "plan and bound" in line:
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert out == ""
    assert "interrupted" in err
    assert "Traceback" not in err
    assert not (folder / "out" / "results.json").exists()
    left = [path.name for path in folder.rglob("*")]
    assert not [name for name in left if name.startswith(".") or name.endswith(".tmp")]


def test_a_reader_that_goes_away_is_no_error() -> None:
    argv = [PROGRAM, "machine", "show", "v4-slc"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize("form", rest_slow(["", " --json"]))
def test_a_full_disk_under_stdout_is_told(form: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, *f"machine list{form}".split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "tmtrain: output: No space left on device\n"


def _no_more_than_2000_bytes() -> None:
    """Make the disk refuse to let any file grow further: what a quota or a full disk does in mid-write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


WRITERS = (
    "capture example.trace --out new.trace",
    "simulate example.trace --fast 20KiB --out new.result",
    "simulate example.trace --fast 20KiB --perfetto new.json",
    "simulate example.trace --fast 20KiB --steps 8 --monitor --out new",
    "evaluate example.trace --fast 20KiB --policy tmtrain --no-sensitivity --jobs 1 --out new",
)


@pytest.mark.parametrize("line", rest_slow(WRITERS))
def test_a_disk_that_fills_up_in_mid_write_leaves_nothing_behind(line: str, folder: Path) -> None:
    done = _run(line, preexec_fn=_no_more_than_2000_bytes)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not [path for path in folder.rglob("*") if path.is_file() and "example.trace" not in path.parts]


@pytest.mark.parametrize("line", WRITERS)
def test_so_it_is_without_a_process_of_its_own(
    line: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with files_of_at_most(2000):
        assert main(line.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "could not write" in said.err
    assert not [path for path in folder.rglob("*") if path.is_file() and "example.trace" not in path.parts]


def test_an_older_result_survives_a_disk_that_fills_up(folder: Path) -> None:
    line = WRITERS[-1].replace("new", "out").split()
    assert main(line) == 0
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    with files_of_at_most(2000):
        assert main(line) == 1
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before


def test_progress_into_a_pipe_is_plain_lines() -> None:
    done = _run("plan example.trace --fast 20KiB")
    assert done.stderr.splitlines()[0] == "example.trace: capture"
    assert "\x1b" not in done.stderr + done.stdout


def test_progress_on_a_terminal_is_one_line_that_goes_away() -> None:
    ours, theirs = pty.openpty()
    argv = [PROGRAM, "plan", "example.trace", "--fast", "20KiB", "--json"]
    environment = os.environ | {"TERM": "xterm"}
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert json.loads(done.stdout)["model"] == "example"
    assert "\x1b[2K" in shown, "the line is erased"
    assert shown.count("\n") <= 1
