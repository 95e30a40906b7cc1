"""Measured times: what a table means, how it stands in for the model, and how nonsense is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.support.proposals import proposed
from tests.support.traces import tiny_trace

from tmtrain.checking import check_plan
from tmtrain.cli.app import main
from tmtrain.errors import InputError, TmtrainError
from tmtrain.evaluation import Study, evaluate
from tmtrain.lowering import lower
from tmtrain.machine import Machine, load_machine, read_calibration
from tmtrain.plans.file import check_plan_fits
from tmtrain.trace import example_trace, save_trace
from tmtrain.units import FastCapacity

HEAD = "operator,shapes,seconds\n"
TABLE = HEAD + "mm,32x32;32x32,0.25\naten.relu.default,32x32,0.5\nmm,1x1;1x1,9\n"
"""The example has two products of 32 x 32 and a ReLU."""
PLENTY = 1 << 30


def table(folder: Path, text: str, name: str = "times.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def calibrated(path: Path) -> Machine:
    return load_machine("v4-slc", calibration=path)


def test_measured_times_stand_in_place_of_the_model(tmp_path: Path) -> None:
    trace = example_trace()
    plain = lower(trace, machine=load_machine("v4-slc"), fast_bytes=PLENTY).slices
    timed = lower(trace, machine=calibrated(table(tmp_path, TABLE)), fast_bytes=PLENTY).slices
    expected = np.where(plain.op == 1, 0.5, np.where(np.isin(plain.op, (0, 6)), 0.25, plain.duration_s))
    np.testing.assert_array_equal(timed.duration_s, expected)
    for column in ("fast_bytes", "sram_bytes", "matrix_flops", "vector_ops"):
        np.testing.assert_array_equal(getattr(plain, column), getattr(timed, column))


def test_slices_share_the_measured_time(tmp_path: Path) -> None:
    slices = lower(example_trace(), machine=calibrated(table(tmp_path, TABLE)), fast_bytes=6 * 4096).slices
    assert (slices.op == 1).sum() >= 1
    assert np.bincount(slices.op, slices.duration_s)[[0, 1, 6]].tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_parquet_is_the_same_table(tmp_path: Path) -> None:
    columns = {
        "operator": ["mm", "aten.relu.default", "mm"],
        "shapes": ["32x32;32x32", "32x32", "1x1;1x1"],
        "seconds": [0.25, 0.5, 9.0],
    }
    pq.write_table(pa.table(columns), tmp_path / "times.parquet")
    assert read_calibration(tmp_path / "times.parquet") == read_calibration(table(tmp_path, TABLE))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("operator,seconds\nmm,1\n", ": has the columns operator, seconds: give operator, shapes, seconds"),
        (HEAD, ": no measured times: give one line"),
        (HEAD + "mm,4x4;4x4,1\n,4x4,1\n", ": line 3: operator is ''"),
        (HEAD + "mm,4*4,1\n", ": line 2: shapes is '4\\*4': write those"),
        (HEAD + "mm,4x4,fast\n", ": line 2: seconds is 'fast': write a number"),
        (HEAD + "mm,4x4,-1\n", ": line 2: seconds is '-1': a measured time is finite and above 0"),
        (HEAD + "mm,4x4,inf\n", ": line 2: seconds is 'inf': a measured time"),
        (HEAD + "mm,4x4\n", ": line 2: seconds is None"),
        (HEAD + "mm,4x4,1,2\n", ": line 2: has more than 3 fields"),
        (HEAD + "mm,4x4,1\nmm,4x4,2\n", ": line 3: mm 4x4 has 2 s, and 1 s in .*line 2: keep one"),
    ],
)
def test_what_makes_no_sense_is_refused_with_file_line_and_field(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=f"times.csv{message}"):
        read_calibration(table(tmp_path, text))


def test_a_missing_file_and_a_false_parquet_say_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.csv: cannot read the measured times"):
        read_calibration(tmp_path / "none.csv")
    with pytest.raises(InputError, match="neither CSV in UTF-8 nor Parquet"):
        read_calibration(table(tmp_path, TABLE, name="times.parquet"))


def test_a_plan_belongs_to_the_measured_times_it_was_made_with(tmp_path: Path) -> None:
    """The checker, given the same times, agrees with every number; without them the plan is another machine's."""
    trace = tiny_trace("bert")
    some = trace.operators.name.index("aten.gelu.default")
    read = next(row for row in np.flatnonzero(trace.operands.op == some) if trace.operands.reads[row])
    shape = "x".join(map(str, trace.operands.shape[read]))
    timed = calibrated(table(tmp_path, f"{HEAD}gelu,{shape},0.0001\n"))
    timeline = lower(trace, machine=timed, fast_bytes=int(0.6 * trace.footprint_bytes))
    timed_plan = proposed(timeline, machine=timed, objective="time")
    assert check_plan(trace, timed_plan, machine=timed).ok
    plain = lower(trace, machine=load_machine("v4-slc"), fast_bytes=timeline.fast_bytes)
    with pytest.raises(TmtrainError):
        check_plan_fits(timed_plan, plain)


def test_the_command_line_counts_what_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_trace(example_trace(), tmp_path / "example.trace")
    args = ["simulate", str(tmp_path / "example.trace"), "--policy", "all-fast", "--fast", "100%"]
    assert main([*args, "--calibration", str(table(tmp_path, TABLE))]) == 0
    assert "3 of 9 operators measured" in " ".join(capsys.readouterr().out.split())
    other = table(tmp_path, HEAD + "mm,7x7;7x7,1\n")
    assert main([*args, "--calibration", str(other)]) == 1
    assert "none of its operators is in the step of 'example'" in capsys.readouterr().err


def test_a_study_uses_measured_times_and_refuses_those_of_another_step(tmp_path: Path) -> None:
    save_trace(example_trace(), tmp_path / "example.trace")
    study = Study(
        models=(str(tmp_path / "example.trace"),),
        calibration=table(tmp_path, TABLE),
        policies=("all-fast",),
        fasts=(FastCapacity(fraction=1.0),),
        sensitivity=False,
        bounded=(),
        keep_runs=False,
    )
    slow = evaluate(study, out=tmp_path / "measured").rows[0].step_time_s
    quick = evaluate(replace(study, calibration=None), out=tmp_path / "modelled").rows[0].step_time_s
    assert slow == pytest.approx(quick + 1.0, rel=1e-3)  # two products of 0.25 s and a ReLU of 0.5 s
    other = replace(study, calibration=table(tmp_path, HEAD + "mm,7x7;7x7,1\n"))
    with pytest.raises(InputError, match="none of its operators is in the step of 'example'"):
        evaluate(other, out=tmp_path / "refused")
