"""What the timing monitor is worth: the same disturbed steps under four ways to plan.

Usage: python benchmarks/monitor.py [--runs RUNS.json] [MODEL ...] > benchmarks/monitor.md

Every run has jitter on every operator, and one after the other: a one-off, a flash at half its rate, its recovery,
durations 30 % longer, durations 30 % shorter. *Perfect knowledge* plans from the true mean durations and rates of each
regime, from its first step on. All minimise time, so that stalls can be compared. RUNS.json gets
what docs/monitor.py draws.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from tmtrain.capturing import capture_model
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine, load_machine
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.observation import Observation
from tmtrain.planning.whole import plan_whole
from tmtrain.plans import Plan
from tmtrain.policies import plan
from tmtrain.reporting.figures.monitor import MonitorRun, Strike
from tmtrain.simulation.noise import (
    Disturbance,
    Jitter,
    OneOff,
    RateDrift,
    SlowFlash,
    conditions_of,
    regime_of,
)
from tmtrain.simulation.steps import StepRecord, run_steps
from tmtrain.units import parse_fast

MODELS = ("gpt2", "bert-large", "llama-2-7b")
MACHINES = ("v4-slc", "znvme-g10")
FASTS = ("12.5%", "75%", "90%")
NUM_STEPS = 78
AFTER = 10
"""Steps after a disturbance until the plan has to be right."""
DISTURBANCES: tuple[Disturbance, ...] = (
    Jitter(sigma=0.05),
    OneOff(step=8, factor=8.0, share=0.1),
    SlowFlash(factor=0.5, first_step=22, last_step=35),
    RateDrift(first_step=50, factor=1.3),
    RateDrift(first_step=64, factor=0.7 / 1.3),
)
STRIKES = (
    Strike(label="one-off", first_step=8, last_step=8),
    Strike(label="flash at half its rate", first_step=22, last_step=35),
    Strike(label="durations x 1.3", first_step=50, last_step=63),
    Strike(label="durations x 0.7", first_step=64, last_step=77),
)
WINDOWS = {"one-off": 8, "slow flash": 22, "flash recovered": 36, "x 1.3": 50, "x 0.7": 64}
"""First step of each disturbance; the four steps from `AFTER` later on are compared."""
CONTENDERS = ("static plan", "whole tensors, static", "perfect knowledge", "monitor")
TOLERANCE, NEGLIGIBLE = 0.05, 0.001
"""Of the stall with perfect knowledge; of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model on one machine with one capacity."""

    rows: list[str]
    run: MonitorRun
    misses: int
    """Of the monitor."""
    missed_share: float
    """Of the bytes that came in."""
    solves: int
    capacity_held: bool
    within: list[bool]
    """Per window: the monitor's stall is within the tolerance."""


def main() -> None:
    """Run all settings, two at a time, and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS, help="zoo models")
    parser.add_argument("--runs", type=Path, help="file for the stalls of every step")
    arguments = parser.parse_args()
    settings = [(m, machine, fast) for m in arguments.models for machine in MACHINES for fast in FASTS]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=2, mp_context=spawn) as pool:
        outcomes = list(pool.map(compare, *zip(*settings, strict=True)))
    _print_report(outcomes)
    if arguments.runs:
        arguments.runs.write_bytes(msgspec.json.encode([outcome.run for outcome in outcomes]))


def compare(model: str, machine_name: str, fast: str) -> Outcome:
    """Run the four contenders through the same steps."""
    timeline, machine = _setting(model, machine_name, fast)
    monitor = Monitor(timeline, machine=machine, objective="time")
    static, whole = monitor.plan, plan_whole(timeline, machine=machine, objective="time")
    perfect = _perfect_knowledge(timeline, machine)
    records = [
        _run(timeline, machine, static, None),
        _run(timeline, machine, whole, None),
        _run(timeline, machine, perfect(0), _in_order(perfect)),
        _run(timeline, machine, static, monitor.next_plan),
    ]
    place = f"{model} | {machine_name} | {fast}"
    watched = records[-1]
    return Outcome(
        rows=[_row(place, name, first, records) for name, first in WINDOWS.items()],
        run=MonitorRun(
            title=f"{model} on {machine_name}, {fast} of the footprint in fast memory",
            contenders=CONTENDERS,
            stall_s=tuple(tuple(record.stall_s for record in run) for run in records),
            strikes=STRIKES,
        ),
        misses=sum(record.misses for record in watched[1:]),
        missed_share=sum(r.missed_bytes for r in watched[1:]) / max(1, sum(r.bytes_in for r in watched[1:])),
        solves=len({id(record.observation.plan) for record in watched}) - 1,
        capacity_held=all(r.peak_bytes <= timeline.fast_bytes for run in records for r in run),
        within=[_is_within(first, records) for first in WINDOWS.values()],
    )


@cache
def _setting(model: str, machine_name: str, fast: str) -> tuple[Timeline, Machine]:
    trace, machine = capture_model(model), load_machine(machine_name)
    fast_bytes = parse_fast(fast).of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    return lower(trace, machine=machine, fast_bytes=fast_bytes), machine


def _run(
    timeline: Timeline, machine: Machine, first: Plan, steer: Callable[[Observation], Plan] | None
) -> list[StepRecord]:
    met = (
        conditions_of(step, timeline=timeline, machine=machine, disturbances=DISTURBANCES, seed=1)
        for step in range(NUM_STEPS)
    )
    return list(run_steps(met, timeline=timeline, plan=first, steer=steer))


def _perfect_knowledge(timeline: Timeline, machine: Machine) -> Callable[[int], Plan]:
    """Return what plans each step from the means of its regime, once per regime."""
    plans: dict[tuple[float, float], Plan] = {}

    def planned(step: int) -> Plan:
        regime = regime_of(step, timeline=timeline, machine=machine, disturbances=DISTURBANCES)
        key = (float(regime.duration_s.sum()), regime.machine.read_bytes_per_s)
        if key not in plans:
            known = replace(timeline, slices=replace(timeline.slices, duration_s=regime.duration_s))
            plans[key] = plan(known, machine=regime.machine, objective="time", recompute=False)
        return plans[key]

    return planned


def _in_order(planned: Callable[[int], Plan]) -> Callable[[Observation], Plan]:
    steps = iter(range(1, NUM_STEPS))
    return lambda _: planned(next(steps))


def _stalls(first: int, records: list[list[StepRecord]]) -> list[float]:
    """Mean stall per contender in the window of the disturbance that began at step `first`."""
    window = slice(first + AFTER, first + AFTER + 4)
    return [float(np.mean([record.stall_s for record in run[window]])) for run in records]


def _step_s(first: int, records: list[list[StepRecord]]) -> float:
    return float(np.mean([r.step_time_s for r in records[2][first + AFTER : first + AFTER + 4]]))


def _is_within(first: int, records: list[list[StepRecord]]) -> bool:
    *_, perfect, monitor = _stalls(first, records)
    return monitor <= max((1 + TOLERANCE) * perfect, perfect + NEGLIGIBLE * _step_s(first, records))


def _row(place: str, name: str, first: int, records: list[list[StepRecord]]) -> str:
    stalls = _stalls(first, records)
    perfect, step_s = stalls[2], _step_s(first, records)
    cells = [f"{perfect:.4g}", f"{perfect / step_s:.2%}"]
    cells += [f"{(stalls[i] - perfect) / step_s:+.2%} ({_ratio(stalls[i], perfect)})" for i in (0, 1, 3)]
    return (
        f"| {place} | {name} | "
        + " | ".join(cells)
        + f" | {'yes' if _is_within(first, records) else '**no**'} |"
    )


def _ratio(stall: float, perfect: float) -> str:
    return f"x {stall / perfect:.3f}" if perfect > 1e-9 else ("x 1" if stall <= 1e-9 else "from 0")


def _print_report(outcomes: list[Outcome]) -> None:
    print(
        f"Stall of a step, mean of 4 steps from {AFTER} steps after each disturbance on; `benchmarks/monitor.py`.\n"
    )
    print(
        "*Perfect*: planned with the true means of the regime. The others: their stall less the perfect one, as a share"
    )
    print(
        f"of the step, and as a ratio. *Within*: at most {TOLERANCE:.0%} above perfect, or {NEGLIGIBLE:.1%} of the step.\n"
    )
    print(
        "| model | machine | fast | after | perfect s | of step | static | whole, static | monitor | within |"
    )
    print("|---" * 10 + "|")
    for outcome in outcomes:
        print("\n".join(outcome.rows))
    print(f"\nThe monitor over all {NUM_STEPS} steps but the cold first:\n")
    print(
        "| setting | changes of plan | misses | share of the bytes that came in | capacity held in every step |"
    )
    print("|---" * 5 + "|")
    for outcome in outcomes:
        held = "yes" if outcome.capacity_held else "**no**"
        print(
            f"| {outcome.run.title} | {outcome.solves} | {outcome.misses} | {outcome.missed_share:.3%} | {held} |"
        )
    within = [ok for outcome in outcomes for ok in outcome.within]
    print(f"\n{sum(within)} of {len(within)} within.")


if __name__ == "__main__":
    main()
