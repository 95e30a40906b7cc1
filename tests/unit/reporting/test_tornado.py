"""The swing of each constant, and which of them turns a ranking round: on cases written by hand."""

import pytest

from tmtrain.evaluation.sensitivity import Case
from tmtrain.reporting.tornado import flips, swings


def cases(constant: str, *, nominal: float, **samples_per_j: dict[float, float]) -> list[Case]:
    """Make the cases of one constant from samples per joule by policy and value."""
    values = [value for by_value in samples_per_j.values() for value in by_value]
    return [
        Case(
            model="m",
            machine="x",
            fast_fraction=0.125,
            constant=constant,
            value=value,
            unit="W",
            low=min(values),
            nominal=nominal,
            high=max(values),
            policy=policy,
            traffic_bytes=1,
            step_time_s=1.0,
            energy_j=1.0,
            samples_per_j=samples,
        )
        for policy, by_value in samples_per_j.items()
        for value, samples in by_value.items()
    ]


CALM = cases("calm", nominal=2.0, tmtrain={1.0: 4.0, 2.0: 4.0, 3.0: 4.0}, lru={1.0: 2.0, 2.0: 2.0, 3.0: 1.6})
WILD = cases(
    "wild",
    nominal=2.0,
    tmtrain={1.0: 6.0, 2.0: 4.0, 4.0: 3.0},
    lru={1.0: 1.0, 2.0: 2.0, 4.0: 1.5},
    g10={1.0: 2.0, 2.0: 1.9, 4.0: 3.3},
)


def test_the_ratio_is_to_the_rival_that_is_best_at_that_value() -> None:
    (wild,) = swings(WILD)
    assert [point.ratio for point in wild.points] == pytest.approx([6 / 2, 4 / 2, 3 / 3.3])
    assert (wild.least, wild.most, wild.at_nominal.ratio) == pytest.approx((3 / 3.3, 3, 2))


def test_the_largest_swing_comes_first() -> None:
    assert [swing.constant for swing in swings([*CALM, *WILD])] == ["wild", "calm"]


def test_every_pair_that_turns_round_is_said_once_at_the_nearest_value() -> None:
    assert flips(swings([*CALM, *WILD])) == (
        "wild: at 4.00 W instead of 2.00 W g10 is ahead of tmtrain.",
        "wild: at 1.00 W instead of 2.00 W g10 is ahead of lru.",
    )


def test_what_ranks_alike_does_not_turn_round() -> None:
    close = cases("close", nominal=2.0, tmtrain={1.0: 1.0, 2.0: 1.0005}, lru={1.0: 1.0008, 2.0: 1.0})
    assert flips(swings([*CALM, *close])) == ("No constant turns a ranking round anywhere in its range.",)


def test_without_ours_or_a_rival_there_is_nothing_to_compare() -> None:
    assert swings(cases("alone", nominal=1.0, tmtrain={1.0: 1.0})) == ()
    assert swings(cases("others", nominal=1.0, lru={1.0: 1.0}, g10={1.0: 2.0})) == ()
