"""The timing monitor over a real run: what it adopts changes plans and no bit, and it never stops a training."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.proposals import proposed
from tests.support.trainings import small_training

from tmtrain import train
from tmtrain.errors import SolverError
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.observation import Observation
from tmtrain.plans import Plan
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.watched_step import RealStep, WatchedStep
from tmtrain.runtime.tier.pages import keep_large_blocks_apart
from tmtrain.runtime.training import step_monitors, step_plans

MIB = 1 << 20
BUDGET = 5 * MIB
STEPS = 8


class _Inline:
    """Thinks at once, so that every step is seen."""

    def __init__(self, **_: object) -> None:
        self.is_shut = False

    def submit(self, work: Callable[..., PlannedStep], *arguments: Any) -> "Future[PlannedStep]":
        future: Future[PlannedStep] = Future()
        try:
            future.set_result(work(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def shutdown(self, **_: object) -> None:
        self.is_shut = True


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Every step is settled at once, and one thread computes alike each time."""
    keep_large_blocks_apart()
    torch.set_num_threads(1)
    monkeypatch.setattr(step_plans, "DRIFT", float("inf"))
    monkeypatch.setattr(step_plans, "DRIVE_DRIFT", float("inf"))
    monkeypatch.setattr(step_monitors, "ThreadPoolExecutor", _Inline)


def _digest(*, monitor: bool, flash: Path | None, objective: str | None = None) -> tuple[str, int]:
    """Train; return the digest of what is left, and how many plans were adopted. Without `flash`, without a budget."""
    small = small_training("gpt2")
    if flash is None:
        return small.digest([small.step(small.batches(n)) for n in range(STEPS)]), 0
    with train(
        small.model,
        small.optimizer,
        small.step,
        budget_bytes=BUDGET,
        flash=flash,
        objective=objective,
        monitor=monitor,
    ) as training:
        losses = [training.step(small.batches(n)) for n in range(STEPS)]
        result = training.result
    assert all(step.peak_bytes <= BUDGET for step in result.steps)
    return small.digest(losses), result.plans_adopted


@pytest.mark.parametrize("objective", [None, pytest.param("bytes", marks=pytest.mark.slow)])
def test_plans_that_are_adopted_change_no_bit(
    objective: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor that cannot make up its mind: after each step, the other of two plans."""
    others: dict[int, Plan] = {}
    firsts: dict[int, Plan] = {}

    def waver(self: Monitor, seen: Observation) -> Plan:
        first = firsts.setdefault(id(self), seen.plan)
        if id(self) not in others:
            others[id(self)] = proposed(
                self._drift.timeline, machine=self.machine, objective="writes", recompute=False
            )
        following = others[id(self)] if seen.plan is first else first
        self._current = replace(self._current, plan=following)
        return following

    monkeypatch.setattr(Monitor, "next_plan", waver)
    digest, adopted = _digest(monitor=True, flash=tmp_path, objective=objective)
    assert adopted == 2, "one way and back: each takes a step that is seen and one that it is adopted after"
    assert digest == _digest(monitor=False, flash=None)[0]


@pytest.mark.slow
def test_without_a_monitor_nothing_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(step_plans, "StepMonitors")
    assert _digest(monitor=False, flash=tmp_path)[1] == 0


@pytest.mark.slow
def test_a_monitor_that_finds_no_plan_is_told_of_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_self: WatchedStep, _seen: RealStep) -> PlannedStep:
        raise SolverError("no solution")

    monkeypatch.setattr(WatchedStep, "answer", fail)
    with pytest.warns(UserWarning, match="the one that there is stays: no solution"):
        digest, adopted = _digest(monitor=True, flash=tmp_path)
    assert adopted == 0
    assert digest == _digest(monitor=False, flash=None)[0]


def test_a_drift_of_the_drive_and_of_operators_is_expected_after_three_steps(tmp_path: Path) -> None:
    """Times as measured here, made 1.5 times as long, on a drive of half the rate."""
    small = small_training("gpt2")
    with train(
        small.model, small.optimizer, small.step, budget_bytes=BUDGET, flash=tmp_path, monitor=False
    ) as training:
        for number in range(3):
            training.step(small.batches(number))
        planned_step = training.planned_step
    assert planned_step is not None
    seconds = planned_step.recorded.trace.operators.duration_s
    assert seconds is not None
    watched = WatchedStep(planned_step)

    def seen(followed: PlannedStep, *, times: float) -> RealStep:
        return RealStep(
            seconds={op: times * float(took) for op, took in enumerate(seconds) if took},
            stall_s=0.01,
            machine=planned_step.machine,
            slowness=times**2,
        )

    followed = planned_step
    for _ in range(4):
        followed = watched.answer(seen(followed, times=1.0))
        assert followed is planned_step
    for _ in range(3):
        assert followed.machine is planned_step.machine
        followed = watched.answer(seen(followed, times=2**0.5))
    ratio = planned_step.machine.read_bytes_per_s / followed.machine.read_bytes_per_s
    assert ratio == pytest.approx(2)
    assert followed.plan.recomputations is planned_step.plan.recomputations
    assert followed.recorded is planned_step.recorded
