"""Mixes: sums of objectives, without a unit, and certified like any other."""

import numpy as np
import pytest
from tests.support.instances import crowded_timeline, middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.thoroughness import rest_slow

from tmtrain.errors import InputError
from tmtrain.planning.problem.objective import NAMES, make_objective, parse_objective, references

TIES = 5e-5
"""Relative: what the tie-break may cost."""
ROUNDING = 0.01
"""Relative: whole pages, of which these steps have few."""


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", NAMES)
def test_a_mix_of_one_is_the_objective_in_another_unit(name: str, seed: int) -> None:
    timeline, machine = middle_timeline(seed), narrow_machine(seed)
    others = ",".join(f"{other}:0" for other in NAMES if other != name)
    pure = proposed(timeline, machine=machine, objective=name)
    mixed = proposed(timeline, machine=machine, objective=f"{name}:1,{others}")
    reference = references(timeline, machine=machine)[next(one for one in NAMES if one == name)]
    assert pure.certificate is not None
    assert mixed.certificate is not None
    assert mixed.certificate.bound.value * reference == pytest.approx(pure.certificate.bound.value, rel=TIES)
    assert mixed.certificate.predicted * reference == pytest.approx(pure.certificate.predicted, rel=ROUNDING)


@pytest.mark.parametrize("seed", rest_slow(range(8), quick=2))
def test_the_bound_of_a_mix_is_no_less_than_the_mix_of_bounds_and_no_more_than_any_plan(seed: int) -> None:
    timeline, machine = crowded_timeline(seed, unit=4), narrow_machine(seed)
    goal = make_objective("energy:1,time:2,writes:0.5", timeline=timeline, machine=machine)
    mixed = proposed(timeline, machine=machine, objective=goal.name)
    assert mixed.certificate is not None
    pure = {
        name: proposed(timeline, machine=machine, objective=name) for name in ("energy", "time", "writes")
    }
    bounds = {
        name: result.certificate.bound.value
        for name, result in pure.items()
        if result.certificate is not None
    }
    parts = sum(term.factor * bounds[term.name] for term in goal.terms)
    assert mixed.certificate.bound.value >= parts - 1e-4 * abs(parts)
    for result in (*pure.values(), mixed):
        seen = result.prediction
        value = goal.measured(
            energy_j=seen.energy_j,
            step_time_s=seen.step_time_s,
            bytes_in=seen.bytes_in,
            bytes_out=seen.bytes_out,
        )
        assert value >= mixed.certificate.bound.value * (1 - ROUNDING)


@pytest.mark.parametrize("text", ["energy", "time", "bytes", "writes", "energy:2,bytes:1,writes:3"])
def test_prices_and_measurements_agree(text: str) -> None:
    timeline, machine = crowded_timeline(3), narrow_machine(3)
    goal = make_objective(text, timeline=timeline, machine=machine)
    joules = make_objective("energy", timeline=timeline, machine=machine)
    step = {"step_time_s": 7.5, "bytes_in": 4096.0, "bytes_out": 512.0}
    assert goal.measured(energy_j=joules.value(**step), **step) == pytest.approx(goal.value(**step))


def test_an_all_fast_step_is_worth_the_weights_of_energy_and_time() -> None:
    timeline, machine = crowded_timeline(1), narrow_machine(1)
    needs = references(timeline, machine=machine)
    goal = make_objective("energy:2,time:3,bytes:5", timeline=timeline, machine=machine)
    value = goal.measured(energy_j=needs["energy"], step_time_s=needs["time"], bytes_in=0, bytes_out=0)
    assert value == pytest.approx(5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("joules", "unknown objective 'joules': choose one of energy, time, bytes, writes, or a mix"),
        ("", "unknown objective ''"),
        ("energy:1,tim:1", "unknown objective 'tim'"),
        ("energy:1,energy:2", "names energy twice"),
        ("energy:-1", "'energy:-1' has no weight"),
        ("energy:1,time:nan", "'time:nan' has no weight"),
        ("energy:,time:1", "'energy:' has no weight"),
        ("energy:0,time:0", "nothing to minimise"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_objective(text)


@pytest.mark.parametrize("name", ["bytes", "writes"])
@pytest.mark.parametrize("seed", rest_slow(range(4)))
def test_where_time_is_free_nobody_waits_for_nothing(name: str, seed: int) -> None:
    """The stall of the programme is not the largest that is allowed, and the bound of bytes is no less than zero."""
    timeline, machine = middle_timeline(seed), narrow_machine(seed)
    result = proposed(timeline, machine=machine, objective=name)
    assert result.certificate is not None
    assert result.certificate.bound.value >= 0
    moved_s = (result.prediction.bytes_in + result.prediction.bytes_out) / machine.shared_bytes_per_s
    worst = timeline.compute_s + 2 * max(moved_s, result.prediction.bytes_in / machine.read_bytes_per_s)
    assert result.prediction.step_time_s <= worst
    assert np.isfinite(result.prediction.energy_j)
