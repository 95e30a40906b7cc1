"""Limits: writes, drive life and time; what cannot be kept is said, with the smallest value that can."""

import re
from pathlib import Path

import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.timelines import make_timeline

from tmtrain import load_machine
from tmtrain.errors import InfeasibleError, MachineError, SolverError, TimeLimitError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import bound_of, carrying_out, task
from tmtrain.planning.planner import PlanningTask
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.problem.wear import life_of_writes, write_budget_of_life
from tmtrain.planning.programme.solve import Limits, Placement
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.plans import Plan

YEAR_S = 365 * 86400
ROUNDING = 0.01
"""Relative: whole pages, of which these steps have few."""


def test_a_write_budget_is_kept_and_its_bound_is_higher() -> None:
    timeline, machine = middle_timeline(5), narrow_machine(5)
    free, fewest = (proposed(timeline, machine=machine, objective=name) for name in ("energy", "writes"))
    budget = (free.prediction.bytes_out + fewest.prediction.bytes_out) / 2
    assert fewest.prediction.bytes_out < budget < free.prediction.bytes_out
    result = proposed(timeline, machine=machine, write_budget_bytes=budget)
    assert result.prediction.bytes_out <= budget
    assert result.certificate is not None
    assert free.certificate is not None
    assert result.certificate.write_budget_bytes == budget
    assert (
        free.certificate.bound.value
        <= result.certificate.bound.value
        <= result.certificate.predicted * (1 + ROUNDING)
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_fewest_writes_that_were_found_are_a_budget_that_can_be_kept(seed: int) -> None:
    """However rounding turns out: the plan of fewest writes is one of the class."""
    timeline, machine = middle_timeline(seed), narrow_machine(seed)
    fewest = proposed(timeline, machine=machine, objective="writes").prediction.bytes_out
    result = proposed(timeline, machine=machine, write_budget_bytes=fewest)
    assert result.prediction.bytes_out <= fewest
    assert result.objective == "energy"


def test_a_write_budget_that_is_too_small_says_what_would_do() -> None:
    timeline, machine = middle_timeline(2), narrow_machine(2)
    least = bound_of(timeline, machine=machine, objective="writes").value
    with pytest.raises(InfeasibleError, match=r"\[Wear\] the write budget of .* is .* short") as caught:
        proposed(timeline, machine=machine, write_budget_bytes=least / 2)
    named = re.search(r"\((\d+)B", str(caught.value))
    assert named is not None
    assert proposed(
        timeline, machine=machine, write_budget_bytes=float(named[1])
    ).prediction.bytes_out <= float(named[1])


def test_a_slice_that_does_not_fit_names_its_operator_and_what_is_missing() -> None:
    timeline = make_timeline(["a:r", "a:r b:r"], pages={"a": 2, "b": 3}, fast_pages=4)
    words = r"\[Capacity\] slice 1 \(operator 1, aten\.slice1.* touches 20\.00 KiB.*missing 4\.00 KiB \(`--fast 20480B`\)"
    with pytest.raises(InfeasibleError, match=words):
        proposed(timeline, machine=narrow_machine(0))


@pytest.mark.parametrize(
    "key", ["slow.read_bandwidth", "slow.write_bandwidth", "link.bandwidth", "fast.bandwidth"]
)
def test_a_machine_without_bandwidth_is_refused(key: str, tmp_path: Path) -> None:
    file = tmp_path / "still.toml"
    file.write_text(f'schema = 1\nbase = "v4-slc"\n[{key.split(".")[0]}]\n{key.split(".")[1]} = "0 GB/s"\n')
    with pytest.raises(MachineError, match=rf"{key}.*must be a finite number above 0"):
        load_machine(file)


class _Clock:
    """Runs out at the first programmes of the planner."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
        self.left, self.original = after, task.solve
        for module in (task, carrying_out):
            monkeypatch.setattr(module, "solve", self)

    def __call__(self, *args: object, **kwargs: object) -> Placement:
        self.left -= 1
        if self.left < 0:
            raise TimeLimitError("out of time")
        return self.original(*args, **kwargs)  # pyright: ignore[reportArgumentType]


def test_without_any_time_there_is_still_a_plan_and_its_gap_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline, machine = middle_timeline(1), narrow_machine(1)
    solved = proposed(timeline, machine=machine)
    _Clock(monkeypatch, after=0)
    result = proposed(timeline, machine=machine, time_limit_s=1e-9)
    assert result.certificate is not None
    assert solved.certificate is not None
    assert not result.certificate.recomputes
    assert len(result.recomputations) == 0
    assert result.certificate.bound.value <= solved.certificate.bound.value
    assert result.certificate.predicted >= solved.certificate.predicted
    assert result.certificate.predicted > result.certificate.bound.value
    assert result.certificate.bound.value == pytest.approx(_of_computation(timeline, machine), rel=1e-9)


def _of_computation(timeline: Timeline, machine: Machine) -> float:
    goal = make_objective("energy", timeline=timeline, machine=machine)
    return goal.value(step_time_s=timeline.compute_s, bytes_in=0, bytes_out=0)


def test_a_bound_that_was_solved_stays_when_the_time_is_over_later(monkeypatch: pytest.MonkeyPatch) -> None:
    timeline, machine = middle_timeline(1), narrow_machine(1)
    solved = proposed(timeline, machine=machine)
    _Clock(monkeypatch, after=1)
    result = proposed(timeline, machine=machine, time_limit_s=1.0)
    assert result.certificate is not None
    assert solved.certificate is not None
    assert result.certificate.bound.value == solved.certificate.bound.value
    assert result.certificate.predicted >= solved.certificate.predicted


def test_a_solver_that_really_has_no_time_says_so() -> None:
    task = _task()
    with pytest.raises(TimeLimitError, match="takes longer than"):
        task.solve(RecomputeCandidates())
    assert issubclass(TimeLimitError, SolverError)


def _task() -> PlanningTask:
    timeline, machine = middle_timeline(0, extents=120), narrow_machine(0)
    return PlanningTask(
        timeline=timeline,
        machine=machine,
        problem=build_problem(timeline),
        objective=make_objective("energy", timeline=timeline, machine=machine),
        limits=Limits(time_limit_s=1e-6),
    )


def test_a_life_and_its_budget_are_each_others_inverse() -> None:
    machine = load_machine("v4-slc")
    budget = write_budget_of_life(machine, life_s=5 * YEAR_S, step_time_s=0.7)
    assert life_of_writes(machine, write_bytes=budget, step_time_s=0.7) == pytest.approx(5 * YEAR_S)
    assert life_of_writes(machine, write_bytes=budget, step_time_s=1.4) == pytest.approx(10 * YEAR_S)
    assert life_of_writes(machine, write_bytes=0, step_time_s=1.0) == float("inf")


def test_a_drive_kept_by_a_budget_lasts_at_least_as_long() -> None:
    timeline, machine = middle_timeline(2), narrow_machine(2)
    free: Plan = proposed(timeline, machine=machine)
    life_s = 1.05 * life_of_writes(
        machine, write_bytes=free.prediction.bytes_out, step_time_s=timeline.compute_s
    )
    budget = write_budget_of_life(machine, life_s=life_s, step_time_s=timeline.compute_s)
    result = proposed(timeline, machine=machine, write_budget_bytes=budget).prediction
    assert life_of_writes(machine, write_bytes=result.bytes_out, step_time_s=result.step_time_s) >= life_s
