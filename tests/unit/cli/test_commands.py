"""Each command on the smallest step: what it prints for people and for programs, and what it writes."""

import dataclasses
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.simulated import ANY_STEP

from tmtrain.cli.app import main
from tmtrain.cli.scene import make_scene
from tmtrain.cli.summaries.trace import summarise_trace
from tmtrain.plans import CLASS
from tmtrain.plans.file import load_plan, save_plan
from tmtrain.policies import plan
from tmtrain.reporting.example import write_example
from tmtrain.simulation import load_result
from tmtrain.trace import Role, example_trace, load_trace, save_trace
from tmtrain.units import parse_fast


@pytest.fixture
def trace(tmp_path: Path) -> str:
    path = tmp_path / "example.trace"
    save_trace(example_trace(), path)
    return str(path)


def _json(capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def _text(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(argv) == 0
    return capsys.readouterr().out


def test_capture_sums_up_a_trace(trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy.trace"
    said = _json(capsys, "capture", trace, "--out", str(copy))
    assert said["operators"] == 10
    assert said["out"] == str(copy)
    assert load_trace(copy).storages.name == example_trace().storages.name
    text = _text(capsys, "capture", trace)
    assert "28.00 KiB at its peak" in text
    assert "optimizer_state" in text


def test_roles_at_the_peak_add_up_to_the_footprint() -> None:
    summary = summarise_trace(example_trace())
    assert sum(summary.footprint_by_role_bytes.values()) == summary.footprint_bytes


def test_a_storage_that_wraps_round_the_end_of_the_step_counts_at_the_start_of_it() -> None:
    """Only what lives from op 7 on and dies before op 3 is alive at op 0; then the peak is there."""
    trace = example_trace()
    s = trace.storages
    sizes = s.bytes.copy()
    birth, death = s.birth_op.copy(), s.death_op.copy()
    wrapping = s.name.index("threshold_backward#4.0")
    sizes[wrapping], birth[wrapping], death[wrapping] = 1 << 20, 9, 1
    storages = dataclasses.replace(s, bytes=sizes, birth_op=birth, death_op=death)
    wrapped = dataclasses.replace(trace, storages=storages)
    summary = summarise_trace(wrapped)
    assert sum(summary.footprint_by_role_bytes.values()) == summary.footprint_bytes == wrapped.footprint_bytes
    assert summary.footprint_by_role_bytes[Role.TEMPORARY.name.lower()] >= 1 << 20


def test_plan_tells_what_the_plan_says(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "example.plan"
    said = _json(capsys, "plan", trace, "--fast", "20KiB", "--objective", "bytes", "--out", str(out))
    scene = make_scene(trace, machine="v4-slc", fast=parse_fast("20KiB"))
    ours = plan(scene.timeline, machine=scene.machine, objective="bytes")
    assert ours.certificate is not None
    assert said["prediction"] == dataclasses.asdict(ours.prediction)
    assert said["certificate"]["bound"] == ours.certificate.bound.value
    assert said["certificate"]["recomputes"]
    assert said["certificate"]["gap"] == ours.certificate.gap
    assert said["transfers"] == len(load_plan(out).transfers) == len(ours.transfers)
    text = _text(capsys, "plan", trace, "--fast", "20KiB", "--objective", "bytes")
    assert all(word in text for word in ("lower bound", "gap", "transfers", "example"))


def test_plan_takes_a_mix_and_limits(trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    mixed = _json(
        capsys, "plan", trace, "--fast", "20KiB", "--objective", "energy:1,time:0.5", "--write-budget", "1MiB"
    )
    assert mixed["objective"] == "energy:1,time:0.5"
    assert mixed["certificate"]["write_budget_bytes"] == 1 << 20
    assert 1 < mixed["certificate"]["bound"] <= mixed["certificate"]["measured"] * (1 + 1e-6)
    text = _text(capsys, "plan", trace, "--fast", "20KiB", "--min-life", "1s", "--time-limit", "60")
    assert f"for every      {CLASS}" in text
    assert "(at most " in text


def test_plan_finds_the_front_and_draws_it(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "front"
    said = _json(capsys, "plan", trace, "--fast", "20KiB", "--pareto", "--out", str(out))
    assert said["points"]
    assert json.loads((out / "pareto.json").read_text()) == said
    assert (out / "pareto.svg").read_text().count('xmlns="http://www.w3.org/2000/svg"') == 1
    assert "life" in _text(capsys, "plan", trace, "--fast", "20KiB", "--pareto")


def test_plan_finds_the_least_fast_memory(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "least.plan")
    said = _json(capsys, "plan", trace, "--min-fast", "--max-slowdown", "1.5", "--out", out)
    assert said["impossible_bytes"] < said["achieved_bytes"] == load_plan(out).fast_bytes
    followed = _json(capsys, "simulate", trace, "--plan", out)
    assert followed["step_time_s"] == said["step_time_s"] <= 1.5 * followed["ideal_step_time_s"]
    assert "impossible" in _text(capsys, "plan", trace, "--min-fast", "--max-slowdown", "1.5")


def test_explain_tells_the_gaps_of_a_tensor(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = str(tmp_path / "example.plan")
    _text(capsys, "plan", trace, "--fast", "20KiB", "--out", saved)
    said = _json(capsys, "explain", trace, saved, "0.weight")
    (storage,) = said["storages"]
    assert storage["name"] == "0.weight"
    for gap in storage["gaps"]:
        assert gap["kept_bytes"] + gap["moved_bytes"] + gap["recomputed_bytes"] == gap["bytes"]
    text = _text(capsys, "explain", trace, saved, "*")
    assert all(words in text for words in ("to keep", "to move", "the plan", "0.weight", "state:"))


def test_simulate_follows_a_plan_from_a_file(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = str(tmp_path / "example.plan")
    predicted = _json(capsys, "plan", trace, "--fast", "20KiB", "--out", saved)["prediction"]
    followed = _json(capsys, "simulate", trace, "--plan", saved)
    assert (followed["bytes_in"], followed["bytes_out"]) == (predicted["bytes_in"], predicted["bytes_out"])
    assert followed == _json(capsys, "simulate", trace, "--fast", "20KiB")


def test_check_tells_good_plans_from_bad_ones(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "example.plan"
    main(["plan", trace, "--fast", "20KiB", "--out", str(saved)])
    capsys.readouterr()
    said = _json(capsys, "check", trace, str(saved))
    assert (said["ok"], said["violations"]) == (True, [])
    assert said["bound"] == pytest.approx(said["stored_bound"], rel=1e-9)
    text = _text(capsys, "check", trace, str(saved))
    assert "all rules are kept" in text
    assert said["covers"] == CLASS
    assert f"for every {CLASS}" in " ".join(text.split())
    honest = load_plan(saved)
    assert honest.certificate is not None
    bound = dataclasses.replace(honest.certificate.bound, value=2 * honest.certificate.bound.value)
    lie = dataclasses.replace(honest, certificate=dataclasses.replace(honest.certificate, bound=bound))
    save_plan(lie, saved)
    assert main(["check", trace, str(saved)]) == 1
    text = capsys.readouterr().out
    assert "[bound] the certificate claims" in text
    assert "1 violations of 1 rules" in text
    assert main(["check", trace, str(saved), "--json"]) == 1
    assert [violation["rule"] for violation in json.loads(capsys.readouterr().out)["violations"]] == ["bound"]


@pytest.mark.parametrize("policy", ANY_STEP)
def test_simulate_runs_every_policy(policy: str, trace: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = _json(capsys, "simulate", trace, "--fast", "20KiB", "--policy", policy)
    assert said["policy"] == policy
    assert said["energy_j"] == pytest.approx(sum(said["energy_by_component_j"].values()))
    assert said["step_time_s"] >= said["ideal_step_time_s"] * (1 - 1e-12)  # a difference of two clock times


def test_a_policy_without_an_answer_is_left_out_of_a_comparison(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options = f"--fast 20KiB --policy lru vdnn-conv belady tmtrain --no-sensitivity --out {out}"
    said = _json(capsys, "evaluate", trace, *options.split())
    assert [row["policy"] for row in said["rows"]] == ["lru", "belady", "tmtrain"]
    assert [(r["policy"], r["budget_bytes"]) for r in said["refusals"]] == [("vdnn-conv", 20480)]
    assert "no convolution" in said["refusals"][0]["reason"]
    text = _text(capsys, "report", str(tmp_path / "out"))
    assert "vdnn-conv did not run" in " ".join(text.split())
    assert main(["simulate", trace, "--fast", "20KiB", "--policy", "vdnn-conv"]) == 1


def test_simulate_writes_result_and_perfetto(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result, step = tmp_path / "example.result", tmp_path / "step.json.gz"
    options = ("--fast", "20KiB", "--out", str(result), "--perfetto", str(step))
    text = _text(capsys, "simulate", trace, *options)
    assert str(result) in text.replace("\n", "")
    assert load_result(result).policy == "tmtrain"
    events = json.loads(gzip.decompress(step.read_bytes()))["traceEvents"]
    assert "aten.mm.default" in {event.get("name") for event in events}


def test_evaluate_takes_several_of_everything(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    argv = ("evaluate", trace, "--machine", "v4-slc", "znvme-g10", "--fast", "20KiB", "24KiB")
    chosen = ("--policy", "lru", "tmtrain", "--no-sensitivity", "--out", str(out))
    said = _json(capsys, *argv, *chosen)
    settings = {(row["machine"], row["fast_bytes"], row["policy"]) for row in said["rows"]}
    assert len(settings) == len(said["rows"]) == 2 * 2 * 2
    written = json.loads((out / "results.json").read_text())
    del written["digest"]  # of the file
    assert {key: said[key] for key in written} == written
    assert (said["report"], said["results"]) == (str(out / "report.html"), str(out / "results.json"))
    assert not (out / "sensitivity.json").exists()


def test_evaluate_tells_progress_on_stderr_only(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = f"--fast 24KiB --policy lru tmtrain --no-sensitivity --out {tmp_path / 'out'}"
    assert main(["evaluate", trace, *options.split()]) == 0
    shown = capsys.readouterr()
    assert "capture" in shown.err
    assert "capture" not in shown.out
    assert "lower bound" in shown.out
    assert "report.html" in shown.out


def test_report_prints_the_rows_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_example(tmp_path)
    said = _json(capsys, "report", str(folder))
    written = json.loads((folder / "results.json").read_text())
    del written["digest"]  # of the file
    assert {key: said[key] for key in written} == written
    assert (folder / "report.html").is_file()
    assert "vs rival" in _text(capsys, "report", str(folder))


def test_machine_list_and_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [entry["name"] for entry in _json(capsys, "machine", "list")]
    assert names == ["v4-slc", "a100-tlc5", "g10-host", "g10-ssd", "v5p-hbf", "znvme-g10"]
    own = tmp_path / "own.toml"
    own.write_text('schema = 1\nbase = "v4-slc"\n[slow]\npage = "16 KiB"\n')
    constants = {c["path"]: c for c in _json(capsys, "machine", "show", str(own))["constants"]}
    assert (constants["slow.page"]["value"], constants["slow.page"]["unit"]) == (16.0, "KiB")
    shown = _text(capsys, "machine", "show", "v4-slc")
    assert all(path in shown for path in constants)
    assert re.search(r"slow.program_energy +100 pJ/bit +[\d.]+ to [\d.]+", shown)


@pytest.mark.parametrize(
    ("to", "key", "words"),
    [
        ("table", "storages", "10 rows"),
        ("checkpoint", "policy", "run again"),
        ("fsdp2", "offloaded_bytes", "parameters, gradients and optimizer state"),
        ("deepspeed", "zero_optimization", "the configuration cannot say"),
    ],
)
def test_export_writes_what_it_says(
    to: str, key: str, words: str, trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file, out = str(tmp_path / "example.plan"), str(tmp_path / "out.json")
    assert main(["plan", trace, "--fast", "20KiB", "--out", plan_file, "--json"]) == 0
    capsys.readouterr()
    options = ["--layers", "0|1"] if to == "checkpoint" else []
    said = _json(capsys, "export", trace, plan_file, "--to", to, "--out", out, *options)
    assert said["to"] == to
    assert key in said
    assert said["files"][0] == out
    assert all(Path(file).is_file() for file in said["files"])
    text = _text(capsys, "export", trace, plan_file, "--to", to, "--out", out, *options)
    assert words in " ".join(text.split())  # long paths are folded


def test_flash_runs_both_layouts_of_a_plan(
    trace: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_file = tmp_path / "mine.plan"
    summary = _json(capsys, "plan", trace, "--fast", "16384", "--out", str(plan_file))
    log, grouped = _json(capsys, "flash", trace, "--plan", str(plan_file), "--steps", "4")
    assert (log["layout"], grouped["layout"]) == ("log", "grouped")
    for run in (log, grouped):
        assert (run["outcome"], run["steps_done"], run["scale"], run["joined_pages"]) == ("done", 4, 1.0, 1)
        assert run["step_write_bytes"] == summary["prediction"]["bytes_out"] > 0
        # Nothing is copied: what 100,000 cycles of 2.0455 TB take, over what a step writes.
        assert run["wear"]["write_amplification"] == 1.0
        assert run["wear"]["life_steps"] == pytest.approx(
            1e5 * 2048 * 635 * 1.5 * 2**20 / run["step_write_bytes"]
        )
    text = _text(capsys, "flash", trace, "--plan", str(plan_file), "--steps", "4", "--fill", "0.5")
    assert "50 % of the device" in text
    assert "4 steps done" in text


def test_flash_refuses_a_machine_of_unknown_parts_at_once(
    trace: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["flash", trace, "--machine", "v5p-hbf"]) == 1
    shown = capsys.readouterr()
    assert "v5p-hbf does not say what its flash consists of" in shown.err
    assert "capture" not in shown.err
    assert shown.out == ""
