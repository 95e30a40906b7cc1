"""What the monitor is worth: the same steps for all contenders, and a gain that is what the steps say."""

from dataclasses import replace

import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import toy_machine
from tests.support.proposals import proposed

from tmtrain.evaluation.monitored import (
    MONITORED,
    PERFECT,
    STATIC,
    DisturbedSteps,
    MonitoredRun,
    gain_of,
    monitored_run,
    strikes_of,
)
from tmtrain.simulation.noise import Disturbance, Jitter, OneOff, RateDrift, SlowFlash
from tmtrain.trace import example_trace


def _steps(*disturbances: Disturbance, num_steps: int = 30, seed: int = 0, of: int = 9) -> DisturbedSteps:
    rate = 8 * 2.0
    machine = toy_machine(
        read_bytes_per_s=rate, write_bytes_per_s=rate, shared_bytes_per_s=2 * rate, page_bytes=8
    )
    timeline = middle_timeline(of)
    return DisturbedSteps(
        timeline=timeline,
        machine=machine,
        plan=proposed(timeline, machine=machine, objective="time"),
        objective="time",
        disturbances=disturbances,
        num_steps=num_steps,
        seed=seed,
    )


def _run(steps: DisturbedSteps, *, monitor: bool = True) -> MonitoredRun:
    return monitored_run(steps, trace=example_trace(), monitor=monitor)


def test_a_drift_is_answered_and_the_gain_is_what_the_steps_say() -> None:
    """Step 16 is one in which the monitor is worth more than 1 % after the drift; in many it is worth less than nothing."""
    run = _run(_steps(RateDrift(first_step=5, factor=1.3), of=16))
    static, watched, perfect = run.contenders
    assert (static.name, watched.name, perfect.name) == (STATIC, MONITORED, PERFECT)
    assert static.plans_adopted == 0 < watched.plans_adopted
    means = [sum(step.step_time_s for step in c.steps[1:]) / 29 for c in run.contenders]
    assert [c.step_time_s for c in run.contenders] == pytest.approx(means)
    assert run.time_gain == pytest.approx((means[0] - means[1]) / means[0])
    assert run.time_gain is not None
    assert run.time_gain > 0.001
    assert not run.is_worth_nothing


def test_where_nothing_is_adopted_the_steps_are_those_of_the_static_plan() -> None:
    steps = _steps(Jitter(sigma=0.05), num_steps=3)
    run = _run(steps)
    assert [c.plans_adopted for c in run.contenders] == [0, 0]
    assert steps.static().steps == run.contenders[0].steps == run.contenders[1].steps
    assert (run.time_gain, run.is_worth_nothing) == (0.0, True)


def test_all_contenders_compute_as_long_step_for_step() -> None:
    run = _run(_steps(Jitter(sigma=0.2), OneOff(step=3, factor=8, share=0.5), num_steps=12))
    computed = [[step.step_time_s - step.stall_s for step in c.steps] for c in run.contenders]
    assert computed[0] == pytest.approx(computed[1])
    assert len(set(computed[0])) == 12


def test_the_same_seed_gives_the_same_steps_and_another_does_not() -> None:
    first, again, other = (
        _run(_steps(Jitter(sigma=0.1), num_steps=4, seed=s), monitor=False) for s in (1, 1, 2)
    )
    assert first == again
    assert first.contenders[0].steps != other.contenders[0].steps


def test_without_a_monitor_there_is_no_gain() -> None:
    run = _run(_steps(Jitter(sigma=0.1), num_steps=3), monitor=False)
    assert [contender.name for contender in run.contenders] == [STATIC]
    assert run.time_gain is run.value_gain is None


def test_perfect_knowledge_goes_back_to_the_plan_when_the_flash_recovers() -> None:
    steps = _steps(SlowFlash(factor=0.5, first_step=2, last_step=4), num_steps=8)
    assert steps.perfect().plans_adopted <= 1
    assert steps.perfect().steps[:2] == steps.static().steps[:2]


def test_a_loss_has_its_sign() -> None:
    assert gain_of(5.0, 4.0) == -0.25


def test_what_comes_after_the_last_step_is_no_strike() -> None:
    late = [RateDrift(first_step=9, factor=2), OneOff(step=1, factor=8, share=0.1)]
    assert [strike.label for strike in strikes_of(late, num_steps=5)] == ["one-off"]


def test_a_loss_is_no_more_worth_nothing_than_a_gain() -> None:
    run = _run(_steps(Jitter(sigma=0.05), num_steps=3))
    assert not replace(run, value_gain=-0.02).is_worth_nothing
