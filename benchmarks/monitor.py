"""What the timing monitor is worth: the same disturbed steps under four ways to plan.

Usage: python benchmarks/monitor.py [--runs RUNS.json] [MODEL ...] > benchmarks/monitor.md

Every run has jitter on every operator, and one after the other: a one-off, a flash at half its rate, its recovery,
durations 30 % longer, durations 30 % shorter. *Perfect knowledge* plans from the true mean durations and rates of each
regime, from its first step on. All minimise time, so that stalls can be compared. RUNS.json gets
what docs/monitor.py draws.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from tmtrain.capturing import capture_model
from tmtrain.evaluation.monitored import (
    MONITORED,
    PERFECT,
    STATIC,
    Contender,
    DisturbedSteps,
    MonitoredRun,
    monitored_run,
)
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine, load_machine
from tmtrain.planning.whole import plan_whole
from tmtrain.policies import plan
from tmtrain.reporting.figures.monitor import setting_title
from tmtrain.simulation.noise import Disturbance, Jitter, OneOff, RateDrift, SlowFlash
from tmtrain.trace import Trace
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
WINDOWS = {"one-off": 8, "slow flash": 22, "flash recovered": 36, "x 1.3": 50, "x 0.7": 64}
"""First step of each disturbance; the four steps from `AFTER` later on are compared."""
WHOLE = "whole tensors, static"
TOLERANCE, NEGLIGIBLE = 0.05, 0.001
"""Of the stall with perfect knowledge; of the step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model on one machine with one capacity."""

    rows: list[str]
    run: MonitoredRun
    misses: int
    """Of the monitor."""
    missed_share: float
    """Of the bytes that came in."""
    changes: int
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
    trace, timeline, machine = _setting(model, machine_name, fast)
    steps = DisturbedSteps(
        timeline=timeline,
        machine=machine,
        plan=plan(timeline, machine=machine, objective="time", recompute=False),
        objective="time",
        disturbances=DISTURBANCES,
        num_steps=NUM_STEPS,
        seed=1,
    )
    run = monitored_run(steps, trace=trace)
    whole = steps.follow(WHOLE, plan_whole(timeline, machine=machine, objective="time"))
    run = replace(run, contenders=(*run.contenders, whole))
    by_name = {contender.name: contender for contender in run.contenders}
    place, watched = f"{model} | {machine_name} | {fast}", by_name[MONITORED]
    return Outcome(
        rows=[_row(place, name, first, by_name) for name, first in WINDOWS.items()],
        run=run,
        misses=watched.misses,
        missed_share=sum(step.missed_bytes for step in watched.steps[1:])
        / max(1, sum(step.bytes_in for step in watched.steps[1:])),
        changes=watched.plans_adopted,
        capacity_held=all(
            step.peak_bytes <= timeline.fast_bytes for contender in run.contenders for step in contender.steps
        ),
        within=[_is_within(first, by_name) for first in WINDOWS.values()],
    )


@cache
def _setting(model: str, machine_name: str, fast: str) -> tuple[Trace, Timeline, Machine]:
    trace, machine = capture_model(model), load_machine(machine_name)
    fast_bytes = parse_fast(fast).of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    return trace, lower(trace, machine=machine, fast_bytes=fast_bytes), machine


def _stall_s(contender: Contender, first: int) -> float:
    """Mean in the window of the disturbance that began at step `first`."""
    return float(np.mean([step.stall_s for step in contender.steps[first + AFTER : first + AFTER + 4]]))


def _step_s(perfect: Contender, first: int) -> float:
    return float(np.mean([step.step_time_s for step in perfect.steps[first + AFTER : first + AFTER + 4]]))


def _is_within(first: int, by_name: dict[str, Contender]) -> bool:
    perfect = _stall_s(by_name[PERFECT], first)
    most = max((1 + TOLERANCE) * perfect, perfect + NEGLIGIBLE * _step_s(by_name[PERFECT], first))
    return _stall_s(by_name[MONITORED], first) <= most


def _row(place: str, name: str, first: int, by_name: dict[str, Contender]) -> str:
    perfect, step_s = _stall_s(by_name[PERFECT], first), _step_s(by_name[PERFECT], first)
    stalls = [_stall_s(by_name[contender], first) for contender in (STATIC, WHOLE, MONITORED)]
    cells = [f"{perfect:.4g}", f"{perfect / step_s:.2%}"]
    cells += [f"{(stall - perfect) / step_s:+.2%} ({_ratio(stall, perfect)})" for stall in stalls]
    return (
        f"| {place} | {name} | "
        + " | ".join(cells)
        + f" | {'yes' if _is_within(first, by_name) else '**no**'} |"
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
            f"| {setting_title(outcome.run)} | {outcome.changes} | {outcome.misses} | {outcome.missed_share:.3%} | {held} |"
        )
    within = [ok for outcome in outcomes for ok in outcome.within]
    print(f"\n{sum(within)} of {len(within)} within.")


if __name__ == "__main__":
    main()
