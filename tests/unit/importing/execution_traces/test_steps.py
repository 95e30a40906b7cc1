"""A trace of several steps gives one of them: which, and how the others differ, is said."""

from pathlib import Path

import pytest
from tests.support.written_traces import MUL, WrittenTrace

from tmtrain.cli.app import main
from tmtrain.errors import InputError
from tmtrain.importing import import_trace
from tmtrain.trace import Phase, Role, Trace

ONE_STEP = ["aten.mul.Tensor", "aten.mul.Tensor", "aten.add_.Tensor", "aten.add_.Tensor"]
REPEATS = "the last whole one that repeats another"


def _import(trace: WrittenTrace, folder: Path, *, step: int | None = None) -> Trace:
    return import_trace(trace.write(folder / "x.json"), step=step)


def _note(trace: Trace) -> str:
    return str(trace.options["step"])


def test_one_step_is_the_whole_file_and_nothing_is_said(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.step()
    trace.call("aten::mul", MUL, [(4, 8), (4, 8)], [(7, 8)])  # a metric, after the optimizer
    imported = _import(trace, tmp_path)
    assert list(imported.operators.name) == [*ONE_STEP, "aten.mul.Tensor"]
    assert "step" not in imported.options


def test_of_three_steps_without_the_profilers_marks_the_last_is_taken(tmp_path: Path) -> None:
    trace = WrittenTrace()
    for _ in range(3):
        trace.step()
    imported = _import(trace, tmp_path)
    assert list(imported.operators.name) == ONE_STEP
    assert imported.operators.phase.tolist() == [
        Phase.FORWARD,
        Phase.BACKWARD,
        Phase.OPTIMIZER,
        Phase.OPTIMIZER,
    ]
    # As of one step, weight, moment and input were there before; activation and gradient come and go.
    assert imported.storages.role.tolist() == [
        Role.INPUT,
        Role.PARAMETER,
        Role.ACTIVATION,
        Role.GRADIENT,
        Role.OPTIMIZER_STATE,
    ]
    assert _note(imported) == f"3 of 3 in the file, {REPEATS}"


def test_the_profilers_marks_cut_and_an_empty_one_is_no_step(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.call("aten::mul", MUL, [(3, 8), (1, 8)], [(4, 8)])  # before the first mark
    for number in (4, 5, 6):
        mark = trace.call(f"ProfilerStep#{number}")
        trace.step(parent=mark, extra=2 if number == 4 else 0)
    trace.call("ProfilerStep#7")
    imported = _import(trace, tmp_path)
    assert list(imported.operators.name) == ONE_STEP
    assert _note(imported) == (
        f"3 of 3 in the file, {REPEATS}; step 1 has 6 operators instead of 4 (+2 aten.relu.default); "
        "1 operators outside of whole steps are left out"
    )


def test_a_step_that_is_cut_off_is_not_taken(tmp_path: Path) -> None:
    trace = WrittenTrace()
    for number in range(3):
        mark = trace.call(f"ProfilerStep#{number}")
        if number < 2:
            trace.step(parent=mark)
        else:
            trace.call("aten::mul", MUL, [(3, 8), (1, 8)], [(4, 8)], parent=mark)
    note = _note(_import(trace, tmp_path))
    assert note.startswith(
        f"2 of 3 in the file, {REPEATS}; step 3 is cut off and has 1 operators instead of 4"
    )


def test_a_tail_without_marks_is_left_out(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.step()
    trace.step()
    trace.call("aten::mul", MUL, [(3, 8), (1, 8)], [(4, 8)])
    imported = _import(trace, tmp_path)
    assert list(imported.operators.name) == ONE_STEP
    assert "1 operators outside of whole steps are left out" in _note(imported)


def test_steps_that_all_differ_are_said_to(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.step(batch=8)
    trace.step(batch=16)
    imported = _import(trace, tmp_path)
    assert imported.storages.bytes[0] == 64
    assert _note(imported) == (
        "2 of 2 in the file, the last whole one: no two are alike; step 1 has another order or other shapes, from "
        "operator 0 (aten.mul.Tensor) on"
    )


def test_the_user_may_choose(tmp_path: Path) -> None:
    trace = WrittenTrace()
    trace.step(extra=1)
    trace.step()
    trace.step()
    first = _import(trace, tmp_path, step=1)
    assert len(first.operators) == 5
    assert _note(first).startswith("1 of 3 in the file, as asked for; step 2 has 4 operators instead of 5")
    with pytest.raises(
        InputError, match=r"x\.json: --step 4 is none of the steps in the file: choose one of 1\.\.3"
    ):
        _import(trace, tmp_path, step=4)


def test_two_optimizers_that_update_different_parameters_are_one_step(tmp_path: Path) -> None:
    trace = WrittenTrace()
    for _ in range(2):
        trace.step()
        trace.call("aten::mul", MUL, [(3, 8), (11, 8)], [(4, 8)])
        trace.update(weight=11, moment=12)
    imported = _import(trace, tmp_path)
    assert list(imported.operators.name) == [
        *ONE_STEP,
        "aten.mul.Tensor",
        "aten.add_.Tensor",
        "aten.add_.Tensor",
    ]
    assert _note(imported) == f"2 of 2 in the file, {REPEATS}"


def test_a_zero_grad_that_ends_steps_stays_with_its_step(tmp_path: Path) -> None:
    trace = WrittenTrace()
    zero = "aten::zero_(Tensor(a!) self) -> Tensor(a!)"
    for _ in range(2):
        trace.call("aten::mul", MUL, [(3, 8), (1, 8)], [(4, 8)])
        trace.update(gradient=5)
        clear = trace.call("Optimizer.zero_grad#SGD.zero_grad")
        trace.call("aten::zero_", zero, [(5, 8)], [(5, 8)], parent=clear)
    imported = _import(trace, tmp_path)
    assert imported.operators.name[-1] == "aten.zero_.default"
    assert imported.operators.phase[-1] == Phase.OPTIMIZER
    assert _note(imported) == f"2 of 2 in the file, {REPEATS}"


def test_the_command_line_says_which_step_it_took(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trace = WrittenTrace()
    trace.step(extra=1)
    trace.step()
    path = trace.write(tmp_path / "x.json")
    assert main(["capture", f"{path}", "--step", "1"]) == 0
    assert "step 1 of 2 in the file, as asked for" in capsys.readouterr().out
    assert main(["simulate", f"{path}", "--fast", "64KiB", "--policy", "lru"]) == 0
    shown = capsys.readouterr()
    assert ", step 2 of 2 in the file" in shown.out
    assert "no two are alike; step 1 has 5 operators instead of 4" in shown.err


def test_a_plan_of_a_chosen_step_is_checked_against_that_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = WrittenTrace()
    trace.step(batch=4096)
    trace.step(batch=8192)
    path, plan = f"{trace.write(tmp_path / 'x.json')}", f"{tmp_path / 'x.plan'}"
    chosen = ["--samples", "4", "--step", "1"]
    assert main(["plan", path, "--fast", "64KiB", "--out", plan, *chosen]) == 0
    assert main(["check", path, plan, *chosen]) == 0
    assert main(["check", path, plan]) != 0
    capsys.readouterr()
