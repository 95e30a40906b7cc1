"""``tmtrain simulate --steps``: many disturbed steps, the monitor beside the static plan, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tmtrain.cli.app import main
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.reporting import read_monitor
from tmtrain.trace import example_trace, save_trace

MONITORED = "--steps 12 --jitter 10% --slow-flash 0.5@4-8 --monitor"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    save_trace(example_trace(), tmp_path / "example.trace")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(capsys: pytest.CaptureFixture[str], options: str) -> str:
    assert main(["simulate", "example.trace", "--fast", "20KiB", *options.split()]) == 0
    return capsys.readouterr().out


def _json(capsys: pytest.CaptureFixture[str], options: str) -> Any:
    return json.loads(_run(capsys, f"{options} --json"))


def test_the_monitor_stands_beside_the_static_plan_step_by_step(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = _json(capsys, f"{MONITORED} --seed 3")["run"]
    static, watched, perfect = run["contenders"]
    assert [c["name"] for c in run["contenders"]] == ["static plan", "monitor", "perfect knowledge"]
    assert {len(c["steps"]) for c in run["contenders"]} == {12}
    assert perfect["plans_adopted"] <= 1
    assert (run["jitter"], run["seed"]) == (0.1, 3)
    gain = (static["step_time_s"] - watched["step_time_s"]) / static["step_time_s"]
    assert run["time_gain"] == pytest.approx(gain)
    text = _run(capsys, f"{MONITORED} --seed 3")
    assert "jitter of 10 % on every operator, flash x 0.5 in steps 4 to 8" in " ".join(text.split())
    assert f"{100 * abs(gain):.2f} % of the step time" in text


def test_without_a_monitor_the_static_plan_runs_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = _json(capsys, "--steps 3 --policy tmtrain-move")
    assert [c["name"] for c in said["run"]["contenders"]] == ["static plan"]
    assert (said["verdict"], said["run"]["time_gain"]) == ("", None)


def test_every_disturbance_can_be_asked_for_more_than_once(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--steps 9 --jitter 0 --slow-flash 0.5@1-2 --slow-flash 0.8@6-7 --drift 1.3@3 --one-off 8@5"
    run = _json(capsys, options)["run"]
    spans = [(s["first_step"], s["last_step"]) for s in run["strikes"]]
    assert (run["jitter"], spans) == (0, [(1, 2), (6, 7), (3, 8), (5, 5)])


def test_record_and_figure_are_written_and_a_second_run_is_added(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        said = _json(capsys, f"--steps 3 --monitor --seed {seed} --out out")
    record = read_monitor(folder / "out/monitor.json")
    assert [run.seed for run in record.runs] == [1, 2]
    assert said["run"]["contenders"][0]["steps"][2]["value"] == record.runs[1].contenders[0].steps[2].value
    assert 'xmlns="http://www.w3.org/2000/svg"' in (folder / "out/monitor.svg").read_text()[:400]


@pytest.mark.slow
def test_a_folder_of_an_evaluation_shows_the_run_in_its_report(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = (
        "evaluate example.trace --fast 20KiB --policy lru tmtrain --no-sensitivity --no-monitor --out out"
    )
    assert main(evaluation.split()) == 0
    assert not (folder / "out/monitor.json").exists()
    assert 'data-figure="monitor"' not in (folder / "out/report.html").read_text()
    _run(capsys, "--steps 3 --monitor --out out")
    assert main(["report", "out"]) == 0
    assert (folder / "out/report.html").read_text().count('data-figure="monitor"') == 1
    shutil.rmtree(folder / "out")


REFUSED = {
    "--steps 0": ("--steps is 0", "at least 2"),
    "--steps 1 --monitor": ("--steps is 1", "at least 2"),
    "--jitter 5%": ("--jitter", "--steps"),
    "--monitor --seed 1": ("--seed and --monitor", "--steps"),
    "--steps 4 --jitter=-1": ("--jitter -1", "from 0 to below 100%"),
    "--steps 4 --jitter much": ("--jitter much", "5%"),
    "--steps 4 --jitter nan": ("--jitter nan", "5%"),
    "--steps 4 --seed=-1": ("--seed is -1", "0 or more"),
    "--steps 4 --policy lru": ("--policy lru", "tmtrain or tmtrain-move"),
    "--steps 4 --perfetto step.json": ("--perfetto", "--steps"),
    "--steps 4 --slow-flash 0.5": ("--slow-flash 0.5", "FACTOR@FIRST-LAST"),
    "--steps 4 --slow-flash 0@1-2": ("--slow-flash 0@1-2", "above 0"),
    "--steps 4 --slow-flash 0.5@3-2": ("step 2 is before step 3",),
    "--steps 4 --slow-flash 0.5@4-5": ("there is no step 4", "steps 0 to 3"),
    "--steps 4 --drift 1.3@2-3": ("--drift 1.3@2-3", "FACTOR@FIRST"),
    "--steps 4 --one-off 8": ("--one-off 8", "FACTOR@STEP"),
}


@pytest.mark.parametrize("options", REFUSED)
def test_what_makes_no_sense_is_refused_before_anything_is_done(
    options: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "no.trace", *options.split()]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    for words in REFUSED[options]:
        assert words in said.err, said.err
    assert "capture" not in said.err


def test_ctrl_c_ends_it_without_a_trace_of_it(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Monitor, "next_plan", interrupt)
    assert main(["simulate", "example.trace", "--fast", "20KiB", *MONITORED.split(), "--out", "out"]) == 130
    said = capsys.readouterr()
    assert said.out == ""
    assert "interrupted" in said.err
    assert not (folder / "out").exists()


def test_a_damaged_record_is_not_overwritten(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").mkdir()
    (folder / "out/monitor.json").write_text("{")
    argv = ["simulate", "example.trace", "--fast", "20KiB", "--steps", "3", "--out", "out"]
    assert main(argv) == 1
    assert "monitor.json is truncated" in capsys.readouterr().err
    assert (folder / "out/monitor.json").read_text() == "{"
