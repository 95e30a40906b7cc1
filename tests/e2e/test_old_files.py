"""Files that were written before words in them changed still open, and say the same."""

from pathlib import Path

import pytest

import tmtrain
from tmtrain.evaluation.fate_record import load_fates
from tmtrain.reporting.results import read_sensitivity

OLD = Path(__file__).parents[1] / "data" / "before_renaming"


@pytest.fixture(scope="module")
def plan() -> tmtrain.Plan:
    return tmtrain.load_plan(OLD / "example.plan")


def test_a_plan_of_version_2_keeps_its_recomputations(plan: tmtrain.Plan) -> None:
    assert len(plan.recomputations) > 0
    assert plan.prediction.recompute_s > 0


def test_an_old_plan_passes_the_checker_on_its_old_trace(plan: tmtrain.Plan) -> None:
    trace = tmtrain.load_trace(OLD / "example.trace")
    report = tmtrain.check_plan(trace, plan, machine=tmtrain.load_machine("v4-slc"))
    assert report.violations == ()


def test_an_old_plan_is_saved_in_the_words_of_today(plan: tmtrain.Plan, tmp_path: Path) -> None:
    tmtrain.save_plan(plan, tmp_path / "again.plan")
    assert (tmp_path / "again.plan" / "recomputations.parquet").is_file()
    again = tmtrain.load_plan(tmp_path / "again.plan")
    assert again.prediction == plan.prediction
    assert (again.recomputations.producer == plan.recomputations.producer).all()


def test_a_result_of_version_3_opens(plan: tmtrain.Plan) -> None:
    assert tmtrain.load_result(OLD / "example.result").recompute_s == pytest.approx(
        plan.prediction.recompute_s
    )


def test_fates_of_version_1_open() -> None:
    assert load_fates(OLD / "example.fates").series.recomputed_bytes.max() > 0


def test_results_and_sensitivity_of_before_open() -> None:
    results = tmtrain.read_results(OLD / "results.json")
    assert max(row.recompute_s for row in results.rows) > 0
    assert read_sensitivity(OLD / "sensitivity.json").cases
