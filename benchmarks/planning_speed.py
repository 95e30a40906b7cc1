"""How long the road takes: wall seconds and peak memory of capture, lower, plan and simulate, per model and policy.

Run ``python benchmarks/planning_speed.py`` for the default models, or name zoo models as arguments. Each model is
measured in a process of its own, so that its peak is its own; the peak includes the imports.
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from tmtrain.capturing import capture_model
from tmtrain.lowering import lower
from tmtrain.machine import DEFAULT_MACHINE, load_machine
from tmtrain.planning import bound_of
from tmtrain.policies import DEFAULT_POLICIES, make_policy
from tmtrain.simulation import simulate
from tmtrain.units import FastCapacity, format_bytes, parse_fast

DEFAULT_MODELS = ("gpt2", "gpt2-xl", "gpt3-175b")
"""A small, a middle and the largest model of the zoo."""

Answer = TypeVar("Answer")


def main() -> None:
    """Read the arguments and measure model after model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS, help="zoo models")
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument(
        "--fast", type=parse_fast, default="12.5%", help='size of the fast tier, e.g. "12.5%%"'
    )
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as fresh_process:
        for model in arguments.models:
            fresh_process.submit(measure, model, machine_name=arguments.machine, fast=arguments.fast).result()


def measure(model: str, *, machine_name: str, fast: FastCapacity) -> None:
    """Walk the road for one model and print each stage as it ends."""
    machine = load_machine(machine_name)
    print(f"{model} on {machine.name} with {fast} fast")
    _print_row("stage", "decide s", "simulate s", "peak RSS")
    trace, seconds = _timed(lambda: capture_model(model))
    _print_row("capture", f"{seconds:.2f}", "", _peak())
    fast_bytes = fast.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline, seconds = _timed(lambda: lower(trace, machine=machine, fast_bytes=fast_bytes))
    size = f"lower ({len(timeline.slices)} slices, {len(timeline.accesses.extent)} accesses)"
    _print_row(size, f"{seconds:.2f}", "", _peak())
    for objective in ("energy", "time", "bytes"):
        _, seconds = _timed(lambda name=objective: bound_of(timeline, machine=machine, objective=name))
        _print_row(f"bound of {objective}", f"{seconds:.2f}", "", _peak())
    for name in DEFAULT_POLICIES:
        decision, decide_s = _timed(lambda name=name: make_policy(name).decide(timeline, machine=machine))
        _, simulate_s = _timed(
            lambda name=name, decision=decision: simulate(decision, machine=machine, policy=name)
        )
        _print_row(name, f"{decide_s:.2f}", f"{simulate_s:.2f}", _peak())


def _timed(work: Callable[[], Answer]) -> tuple[Answer, float]:
    begin = time.perf_counter()
    answer = work()
    return answer, time.perf_counter() - begin


def _peak() -> str:
    return format_bytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def _print_row(stage: str, decide: str, simulated: str, peak: str) -> None:
    print(f"  {stage:<48} {decide:>10} {simulated:>10} {peak:>12}", flush=True)


if __name__ == "__main__":
    main()
