"""The headline: geometric means over models, worked out by hand."""

from dataclasses import replace

from tmtrain.evaluation.row import Bounds, Refusal, Results, Row
from tmtrain.reporting.example import example_results
from tmtrain.reporting.headline import headlines
from tmtrain.reporting.table import refusal_lines

OURS = example_results().rows[0]


def _row(model: str, policy: str, *, samples_per_j: float, moved: int, seconds: float = 1.0) -> Row:
    """Only what the headline reads is right: capacity 12.5 %."""
    return replace(
        OURS,
        model=model,
        policy=policy,
        samples_per_j=samples_per_j,
        traffic_bytes=moved,
        step_time_s=seconds,
        fast_fraction=0.125,
        batch=1,
        bounds=Bounds(energy_j=0.5, time_s=None, traffic_bytes=None),
    )


def _lines(*rows: Row) -> dict[str, tuple[str, ...]]:
    (headline,) = headlines(Results(schema=4, rows=list(rows), refusals=[]))
    return {line[0]: line[1:] for line in headline.lines}


def test_a_cell_is_the_geometric_mean_of_ours_over_the_rival() -> None:
    # Samples per joule 2 and 8 times the rival's: 4 times in the mean. Bytes a half and an eighth: a quarter. Time alike.
    lines = _lines(
        _row("one", "tmtrain", samples_per_j=2, moved=50),
        _row("one", "lru", samples_per_j=1, moved=100),
        _row("two", "tmtrain", samples_per_j=8, moved=25),
        _row("two", "lru", samples_per_j=1, moved=200),
    )
    assert lines["lru"] == ("+300 %", "−75 %", "±0 %", "2/2")
    # No policy gets more than 1 / 0.5 J: ours is at 2 / 2 and 8 / 2, twice that in the mean (made-up numbers).
    assert lines["lower bound"] == ("+100 %", "–", "–", "")


def test_the_best_of_each_model_may_be_another_rival_each_time() -> None:
    # Against lru in the first (4 / 2) and g10 in the second (9 / 2): sqrt(2 x 4.5) = 3.
    lines = _lines(
        _row("one", "tmtrain", samples_per_j=4, moved=1),
        _row("one", "lru", samples_per_j=2, moved=1),
        _row("one", "g10", samples_per_j=1, moved=1),
        _row("two", "tmtrain", samples_per_j=9, moved=1),
        _row("two", "lru", samples_per_j=1, moved=1),
        _row("two", "g10", samples_per_j=2, moved=1),
    )
    assert lines["best of each model"][0] == "+200 %"


def test_a_rival_that_ran_on_one_model_says_so_and_is_compared_there() -> None:
    lines = _lines(
        _row("one", "tmtrain", samples_per_j=2, moved=10),
        _row("one", "lru", samples_per_j=1, moved=10),
        _row("two", "tmtrain", samples_per_j=3, moved=0),
        _row("two", "lru", samples_per_j=1, moved=10),
        _row("two", "vdnn-conv", samples_per_j=2, moved=20),
    )
    assert lines["vdnn-conv"] == ("+50 %", "–", "±0 %", "1/2")  # nothing moved: no ratio of bytes
    assert lines["lru"][1] == "±0 %"  # from the first model alone


def test_one_model_has_no_headline() -> None:
    rows = [row for row in example_results().rows if row.model == "made-up-small"]
    assert headlines(Results(schema=4, rows=rows, refusals=[])) == ()


def test_what_could_not_run_is_told_once_per_reason() -> None:
    refusal = Refusal(
        model="one",
        batch=1,
        machine="m",
        objective="energy",
        budget_bytes=1024,
        policy="vdnn-conv",
        reason="the step has no convolution",
    )
    refusals = [refusal, replace(refusal, model="two"), replace(refusal, policy="", reason="too small")]
    assert refusal_lines(Results(schema=4, rows=[], refusals=refusals)) == (
        "vdnn-conv did not run on one on m with 1.00 KiB, two on m with 1.00 KiB: the step has no convolution",
        "nothing ran on one on m with 1.00 KiB: too small",
    )
