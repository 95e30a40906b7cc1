"""What `evaluate` cannot do it says before it computes; what goes wrong later leaves nothing half-written."""

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests.support.disk import files_of_at_most

from tmtrain.capturing import StepOptions
from tmtrain.errors import InfeasibleError, InputError, TmtrainError
from tmtrain.evaluation import Results, Study, evaluate
from tmtrain.reporting import read_results
from tmtrain.reporting.example import example_result
from tmtrain.simulation import load_result, save_result
from tmtrain.units import FastCapacity

STUDY = Study(
    models=("gpt2-tiny",),
    fasts=(FastCapacity(fraction=0.5),),
    policies=("lru", "tmtrain"),
    sensitivity=False,
    bounded=(),
)


@pytest.mark.parametrize(
    ("study", "message"),
    [
        pytest.param(replace(STUDY, models=("gpt2-tiny", "gpt5")), "gpt5", id="model"),
        pytest.param(replace(STUDY, models=("gpt2-tiny", "no.trace")), "no such file: no.trace", id="trace"),
        pytest.param(replace(STUDY, models=("gpt2-tiny", "no.py:step")), "no such file: no.py", id="file"),
        pytest.param(
            replace(STUDY, options=StepOptions(sequence=8), models=("gpt2-tiny", "resnet-152")),
            "sequence",
            id="option",
        ),
        pytest.param(replace(STUDY, machines=("v4-slc", "abacus")), "abacus", id="machine"),
        pytest.param(replace(STUDY, policies=("lru", "mru")), "unknown policy 'mru'", id="policy"),
        pytest.param(replace(STUDY, objective="beauty"), "unknown objective 'beauty'", id="objective"),
    ],
)
def test_an_unknown_name_is_refused_before_anything_is_computed(
    study: Study, message: str, tmp_path: Path
) -> None:
    progress: list[str] = []
    with pytest.raises(InputError, match=message):
        evaluate(study, out=tmp_path / "out", tell=progress.append)
    assert progress == []
    assert list(tmp_path.iterdir()) == []


def test_too_little_fast_memory_is_refused_with_need_and_have(tmp_path: Path) -> None:
    study = replace(STUDY, fasts=(FastCapacity(bytes=8192),))
    with pytest.raises(
        InfeasibleError, match=r"operator \d+ \(aten\..*needs .* has 8.00 KiB, .* short: give it at least"
    ):
        evaluate(study, out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_capacity_of_no_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match="has 0 B"):
        evaluate(replace(STUDY, fasts=(FastCapacity(bytes=100),)), out=tmp_path / "out")


def test_a_later_capacity_that_is_too_small_is_told_beside_the_rows_of_the_others(tmp_path: Path) -> None:
    study = replace(STUDY, fasts=(*STUDY.fasts, FastCapacity(bytes=8192)))
    results = evaluate(study, out=tmp_path)
    assert [row.policy for row in results.rows] == ["lru", "tmtrain"]
    (refusal,) = results.refusals
    assert (refusal.model, refusal.policy, refusal.budget_bytes) == ("gpt2-tiny", "", 8192)
    assert "give it at least" in refusal.reason
    assert read_results(tmp_path / "results.json") == results


class TestAnInterruptedStudy:
    """Two settings, of which the second breaks off."""

    STUDY = replace(STUDY, fasts=(*STUDY.fasts, FastCapacity(fraction=0.25)))

    @pytest.fixture
    def interrupted(self, tmp_path: Path) -> Path:
        def interrupt(line: str) -> None:
            if line == "gpt2-tiny on v4-slc with 0.25 fast: lru":
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            evaluate(self.STUDY, out=tmp_path, tell=interrupt)
        assert not (tmp_path / "results.json").exists()
        return tmp_path

    def test_resumed_it_computes_what_is_missing_and_ends_alike(self, interrupted: Path) -> None:
        progress: list[str] = []
        resumed = evaluate(self.STUDY, out=interrupted, resume=True, tell=progress.append)
        assert [line for line in progress if line.endswith(": lru")] == [
            "gpt2-tiny on v4-slc with 0.25 fast: lru"
        ]
        assert _measured(resumed) == _measured(evaluate(self.STUDY, out=interrupted / "afresh"))
        assert not (interrupted / "parts").exists()

    def test_another_study_takes_nothing_over(self, interrupted: Path) -> None:
        progress: list[str] = []
        evaluate(replace(self.STUDY, objective="time"), out=interrupted, resume=True, tell=progress.append)
        assert len([line for line in progress if line.endswith(": lru")]) == 2

    def test_nothing_is_done_before_somebody_says_what_becomes_of_it(self, interrupted: Path) -> None:
        before = sorted(path.read_bytes() for path in interrupted.rglob("*.json"))
        with pytest.raises(
            InputError, match=r"\(1 settings done\): --resume goes on with it, --force begins anew"
        ):
            evaluate(self.STUDY, out=interrupted)
        assert before == sorted(path.read_bytes() for path in interrupted.rglob("*.json"))

    def test_begun_anew_it_takes_nothing_over(self, interrupted: Path) -> None:
        progress: list[str] = []
        evaluate(self.STUDY, out=interrupted, force=True, tell=progress.append)
        assert len([line for line in progress if line.endswith(": lru")]) == 2

    @pytest.mark.slow
    def test_side_by_side_it_ends_alike(self, tmp_path: Path) -> None:
        progress: list[str] = []
        side_by_side = evaluate(self.STUDY, out=tmp_path / "two", jobs=2, tell=progress.append)
        assert _measured(side_by_side) == _measured(evaluate(self.STUDY, out=tmp_path / "one"))
        assert progress[1:] == [
            "1 of 2 settings done: gpt2-tiny on v4-slc with 0.5 fast",
            "2 of 2 settings done: gpt2-tiny on v4-slc with 0.25 fast",
        ]


def _measured(results: Results) -> list[tuple[str, float, int, float]]:
    """All but the wall clock."""
    return [(row.policy, row.energy_j, row.traffic_bytes, row.bound) for row in results.rows]


def _whole_runs(out: Path) -> int:
    """Check that `out` holds runs that can be loaded, whole parts and nothing else; return how many runs."""
    assert {path.name for path in out.iterdir()} <= {"runs", "parts"}
    for part in (out / "parts").glob("*"):
        json.loads(part.read_bytes())
    runs = list((out / "runs").iterdir()) if (out / "runs").exists() else []
    runs = [path for path in runs if path.suffix not in {".fates", ".plan"}]
    for path in runs:
        load_result(path)
    return len(runs)


def _no_space(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _half(path: Path, data: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(data[: len(data) // 2])
    _no_space()


def test_a_disk_that_is_full_at_the_first_table_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pq, "write_table", _no_space)
    with pytest.raises(InputError, match=r"could not write .*lru: No space left on device; nothing was left"):
        evaluate(STUDY, out=tmp_path)
    assert _whole_runs(tmp_path) == 0


def test_a_disk_that_fills_up_at_the_results_keeps_the_old_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "results.json"
    old.write_text("the results of last week")
    monkeypatch.setattr(Path, "write_bytes", _half)
    with pytest.raises(InputError, match=r"could not write .*: No space left on device"):
        evaluate(STUDY, out=tmp_path, force=True)
    monkeypatch.undo()
    assert old.read_text() == "the results of last week"
    old.unlink()
    assert _whole_runs(tmp_path) == 2


def test_a_write_that_the_kernel_refuses_leaves_nothing(tmp_path: Path) -> None:
    with (
        files_of_at_most(512),
        pytest.raises(InputError, match=r"could not write .*nothing was left behind"),
    ):
        save_result(example_result("tmtrain"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_write_keeps_the_run_that_was_there(tmp_path: Path) -> None:
    save_result(example_result("lru"), tmp_path / "run")
    with files_of_at_most(512), pytest.raises(InputError):
        save_result(example_result("tmtrain"), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert load_result(tmp_path / "run").policy == "lru"


def test_a_run_does_not_overwrite_what_is_not_a_run(tmp_path: Path) -> None:
    taken = tmp_path / "runs" / "gpt2-tiny.v4-slc.0.5.lru"
    taken.mkdir(parents=True)
    (taken / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a tmtrain bundle"):
        evaluate(STUDY, out=tmp_path)
    assert (taken / "thesis.tex").read_text() == "years of work"


def test_every_refusal_is_an_error_of_ours() -> None:
    assert issubclass(InputError, TmtrainError)
    assert issubclass(InfeasibleError, TmtrainError)
