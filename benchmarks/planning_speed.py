"""How long planning takes, before and after: processor and wall seconds, bound, and what the engine measures of the plan.

Each plan in a process of its own, which has loaded and compiled everything by planning a tiny step before, from traces that
are captured once; written to benchmarks/planning_speed.md:

    python benchmarks/planning_speed.py [MODEL ...] [--before SRC] [--objective energy] [--search pareto] [--traces FOLDER]

SRC is the folder `src` of another checkout of tmtrain, which plans too, on the same machine and in the same run. Two
programmes are solved in parallel: on two quiet cores wall seconds are fewer than processor seconds, on a busy machine only
the latter mean something.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tmtrain import (
    capture_model,
    load_machine,
    load_trace,
    lower,
    min_fast,
    pareto,
    plan,
    save_trace,
)
from tmtrain.machine import DEFAULT_MACHINE, Machine
from tmtrain.planning.example import example_timeline
from tmtrain.planning.problem.objective import make_objective
from tmtrain.policies import follow
from tmtrain.questions.min_fast import slowdown_limit
from tmtrain.simulation import simulate
from tmtrain.trace import Trace

DEFAULT_MODELS = ("gpt2", "gpt2-xl", "llama-2-7b", "gpt3-175b")
SHARE = 0.125
"""Of the footprint in fast memory."""
SLOWDOWN = 1.2
"""Of `min-fast`."""
HEAD = ("model", "version", "processor", "wall", "bound", "simulated", "above the bound")
Measured = dict[str, float]


def main() -> None:
    """Measure model after model and write the table as it grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", default=DEFAULT_MODELS, help="zoo models")
    parser.add_argument("--before", type=Path, help="the folder `src` of another checkout")
    parser.add_argument("--search", choices=("pareto", "min-fast"), help="this search instead of one plan")
    parser.add_argument("--objective", default="energy")
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument("--traces", type=Path, help="a folder that keeps the traces")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    parser.add_argument(
        "--measure", type=Path, metavar="TRACE", help="print one measurement of a trace as JSON"
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(load_trace(arguments.measure), arguments)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        _fill_table(arguments, arguments.traces or Path(scratch))


def measure(trace: Trace, arguments: argparse.Namespace) -> Measured:
    """Plan once, or search once; simulate a plan."""
    machine = load_machine(arguments.machine)
    plan(example_timeline(), machine=load_machine(DEFAULT_MACHINE))
    fast_bytes = int(SHARE * trace.footprint_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    wall, busy = time.perf_counter(), time.process_time()
    if arguments.search:
        _search(trace, machine, arguments.search, fast_bytes)
        return {"wall_s": time.perf_counter() - wall, "busy_s": time.process_time() - busy}
    best = plan(timeline, machine=machine, objective=arguments.objective)
    seconds = {"wall_s": time.perf_counter() - wall, "busy_s": time.process_time() - busy}
    result = simulate(follow(best, timeline, machine=machine), machine=machine, policy="tmtrain")
    simulated = make_objective(arguments.objective, timeline=timeline, machine=machine).measured(
        energy_j=result.energy_j,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
    )
    assert best.certificate is not None
    return seconds | {"bound": best.certificate.bound.value, "simulated": simulated}


def _search(trace: Trace, machine: Machine, search: str, fast_bytes: int) -> None:
    if search == "pareto":
        pareto(lower(trace, machine=machine, fast_bytes=fast_bytes), machine=machine)
        return
    limit = slowdown_limit(trace, machine=machine, slowdown=SLOWDOWN)
    min_fast(trace, machine=machine, limit=limit)


def _fill_table(arguments: argparse.Namespace, traces: Path) -> None:
    rows: list[str] = []
    sources = {"before": arguments.before, "now": Path(__file__).parents[1] / "src"}
    for model in arguments.models:
        trace = traces / f"{model}.trace"
        if not trace.exists():
            save_trace(capture_model(model), trace)
        for version, source in sources.items():
            if source:
                rows.append(_row(model, version, _in_fresh_process(trace, source)))
                print(rows[-1], flush=True)
        arguments.out.write_text(_document(rows, arguments))


def _in_fresh_process(trace: Path, source: Path) -> Measured:
    """Run this file with the package of `source`, and the arguments of this run."""
    packages = os.pathsep.join([str(source.resolve()), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--measure", str(trace)],
        env=os.environ | {"PYTHONPATH": packages},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def _document(rows: list[str], arguments: argparse.Namespace) -> str:
    what = arguments.search or f"`plan` for {arguments.objective}"
    lines = [
        "# Planning speed",
        "",
        *(__doc__ or "").strip().splitlines(),
        "",
        f"{what} on {arguments.machine}, {SHARE:.1%} of the footprint in fast memory.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" * len(HEAD) + "|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _row(model: str, version: str, measured: Measured) -> str:
    cells = [model, version, f"{measured['busy_s']:.1f} s", f"{measured['wall_s']:.1f} s"]
    if "bound" in measured:
        gap = f"{measured['simulated'] / measured['bound'] - 1:.3%}" if measured["bound"] > 0 else "-"
        cells += [f"{measured['bound']:.8g}", f"{measured['simulated']:.8g}", gap]
    return f"| {' | '.join([*cells, *[''] * (len(HEAD) - len(cells))])} |"


if __name__ == "__main__":
    main()
