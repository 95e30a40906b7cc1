"""How far from optimal the plans are, as simulated, and how well the planner predicts them.

For every model, capacity, machine, objective and class (keep or move; with recomputation): the simulated objective over the
certified bound, the planner's prediction over the simulation (time, bytes, joules), and the seconds that planning took.

    python benchmarks/gaps.py                                   # everything, about an hour on 2 cores: benchmarks/gaps.md
    python benchmarks/gaps.py --models gpt2 --fasts 0.125 --out gaps-gpt2
"""

import argparse
import json
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from tmtrain import PlanRefutedError, TmtrainError, capture_model, load_machine, load_trace, lower
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.policies import follow, plan
from tmtrain.simulation import Result, simulate
from tmtrain.trace import Trace

MODELS = ("gpt2", "gpt2-xl", "bert-large", "vit-large", "resnet-152", "t5-large", "llama-2-7b", "gpt3-175b")
FASTS = (0.25, 0.125, 0.0625)
MACHINES = ("v4-slc", "znvme-g10")
OBJECTIVES = ("energy", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One plan and what became of it."""

    model: str
    machine: str
    fast: float
    objective: str
    recompute: bool
    bound: float = 0.0
    simulated: float = 0.0
    predicted: float = 0.0
    gib: float = 0.0
    time_error: float = 0.0
    """Predicted over simulated, less 1."""
    bytes_error: float = 0.0
    energy_error: float = 0.0
    plan_s: float = 0.0
    failed: str = ""

    @property
    def gap(self) -> float:
        """Simulated over bound, less 1."""
        return self.simulated / self.bound - 1


def run(trace: Trace, machine: Machine, fast: float, objective: str, *, recompute: bool) -> Case:
    """Plan, simulate, compare."""
    names = {
        "model": trace.model,
        "machine": machine.name,
        "fast": fast,
        "objective": objective,
        "recompute": recompute,
    }
    try:
        timeline = lower(trace, machine=machine, fast_bytes=int(trace.footprint_bytes * fast))
        begin = time.perf_counter()
        best_plan = plan(timeline, machine=machine, objective=objective, recompute=recompute)
        seconds = time.perf_counter() - begin
        result = simulate(follow(best_plan, timeline, machine=machine), machine=machine, policy="tmtrain")
    except (TmtrainError, PlanRefutedError) as error:
        return Case(**names, failed=str(error))
    return Case(**names, plan_s=seconds, **_compare(best_plan, result))


def _compare(best_plan: Plan, result: Result) -> dict[str, float]:
    assert best_plan.certificate is not None
    expected = best_plan.prediction
    moved = expected.bytes_in + expected.bytes_out
    return {
        "bound": best_plan.certificate.bound.value,
        "simulated": result.energy_j if best_plan.objective == "energy" else result.step_time_s,
        "predicted": best_plan.certificate.predicted,
        "gib": result.traffic_bytes / 2**30,
        "time_error": expected.step_time_s / result.step_time_s - 1,
        "bytes_error": moved / result.traffic_bytes - 1 if result.traffic_bytes else 0.0,
        "energy_error": expected.energy_j / result.energy_j - 1,
    }


def _table(cases: list[Case]) -> str:
    lines = [
        "| model | machine | fast | objective | class | simulated | GiB | gap | off by: time, bytes, joules | plan |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for c in cases:
        kind = "joint" if c.recompute else "move"
        head = f"| {c.model} | {c.machine} | {c.fast:.4g} | {c.objective} | {kind} |"
        if c.failed:
            lines.append(f"{head} {c.failed} | | | | |")
            continue
        off = f"{c.time_error:+.2%}, {c.bytes_error:+.2%}, {c.energy_error:+.2%}"
        lines.append(f"{head} {c.simulated:.4g} | {c.gib:.3g} | {c.gap:.2%} | {off} | {c.plan_s:.1f} s |")
    return "\n".join(lines)


def _summary(cases: list[Case]) -> str:
    lines = ["| machine | objective | class | cases | median gap | worst gap |", "|---|---|---|---|---|---|"]
    groups = sorted({(c.machine, c.objective, c.recompute) for c in cases})
    for machine, objective, recompute in groups:
        mine = [c for c in cases if (c.machine, c.objective, c.recompute) == (machine, objective, recompute)]
        gaps = {f"{c.model} {c.fast:.4g}": c.gap for c in mine if not c.failed}
        if gaps:
            worst = max(gaps, key=lambda name: gaps[name])
            kind = "joint" if recompute else "move"
            middle = statistics.median(gaps.values())
            lines.append(
                f"| {machine} | {objective} | {kind} | {len(gaps)} | {middle:.2%} | {gaps[worst]:.2%} ({worst}) |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the cases and write the table after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--fasts", nargs="+", type=float, default=FASTS)
    parser.add_argument("--machines", nargs="+", default=MACHINES)
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES)
    parser.add_argument("--classes", nargs="+", default=("move", "joint"))
    parser.add_argument("--traces", type=Path, help="folder of MODEL.trace, instead of capturing")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("gaps"))
    options = parser.parse_args()
    cases: list[Case] = []
    for model in options.models:
        trace = load_trace(options.traces / f"{model}.trace") if options.traces else capture_model(model)
        for machine, fast, objective, kind in product(
            options.machines, options.fasts, options.objectives, options.classes
        ):
            case = run(trace, load_machine(machine), fast, objective, recompute=kind == "joint")
            cases.append(case)
            print(_table([case]).splitlines()[-1], flush=True)
            text = f"# Gaps\n\n{__doc__}\n{_summary(cases)}\n\n{_table(cases)}\n"
            options.out.with_suffix(".md").write_text(text)
    options.out.with_suffix(".json").write_text(json.dumps([asdict(c) for c in cases], indent=1) + "\n")


if __name__ == "__main__":
    main()
