"""How planning grows with the step: GPT-2 small with ever more layers, 1,000 to 50,000 operators.

The whole plan (two partitions, bound, rounding, schedule) and the one that keeps and moves only, each in a process of
its own, so that peaks are its own. Processor seconds: two programmes are solved in parallel. In benchmarks/growth.md:

    python benchmarks/growth.py [--layers 3 12 ...] [--machine v4-slc] [--share 0.125]
"""

import argparse
import multiprocessing
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from tmtrain.capturing import StepOptions
from tmtrain.capturing.fake import capture_zoo_model
from tmtrain.capturing.jobs.catalog import find_model, resolve_options
from tmtrain.lowering import lower
from tmtrain.machine import DEFAULT_MACHINE, load_machine
from tmtrain.policies import follow, plan
from tmtrain.simulation import simulate
from tmtrain.trace import Trace
from tmtrain.units import format_bytes

LAYERS = (3, 6, 12, 24, 48, 96, 170)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One plan."""

    layers: int
    recompute: bool
    operators: int
    slices: int
    busy_s: float
    peak_bytes: int
    gap: float
    """Simulated energy over the certified bound, less 1."""


def main() -> None:
    """Plan one size after the other and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--layers", nargs="+", type=int, default=LAYERS)
    parser.add_argument("--machine", default=DEFAULT_MACHINE)
    parser.add_argument("--share", type=float, default=0.125, help="of the footprint in fast memory")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    rows: list[Measured] = []
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn, max_tasks_per_child=1) as fresh_process:
        for layers in arguments.layers:
            for recompute in (False, True):
                rows.append(
                    fresh_process.submit(
                        measure, layers, recompute, arguments.machine, arguments.share
                    ).result()
                )
                arguments.out.write_text(_document(rows, machine=arguments.machine, share=arguments.share))
                print(_row(rows[-1]), flush=True)


def measure(layers: int, recompute: bool, machine_name: str, share: float) -> Measured:
    """Plan GPT-2 small with so many layers."""
    machine, trace = load_machine(machine_name), deep_gpt2(layers)
    timeline = lower(trace, machine=machine, fast_bytes=int(share * trace.footprint_bytes))
    begin = time.process_time()
    best_plan = plan(timeline, machine=machine, recompute=recompute)
    busy_s = time.process_time() - begin
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = simulate(follow(best_plan, timeline, machine=machine), machine=machine, policy="tmtrain")
    assert best_plan.certificate is not None
    return Measured(
        layers=layers,
        recompute=recompute,
        operators=len(trace.operators),
        slices=len(timeline.slices),
        busy_s=busy_s,
        peak_bytes=peak_bytes,
        gap=result.energy_j / best_plan.certificate.bound.value - 1,
    )


def deep_gpt2(layers: int) -> Trace:
    """Capture GPT-2 small with so many layers."""
    model = find_model("gpt2")
    deep = replace(model, fields={**model.fields, "n_layer": layers})
    return capture_zoo_model(deep, resolve_options(deep, StepOptions()))


def _document(rows: list[Measured], *, machine: str, share: float) -> str:
    lines = [
        "# Growth",
        "",
        *(__doc__ or "").strip().splitlines(),
        "",
        f"On {machine}, {share:.1%} of the footprint in fast memory, for energy. The peak includes the imports; the gap is"
        " the simulated energy over the certified bound.",
        "",
        "| layers | class | operators | slices | processor | seconds per 1,000 operators | peak memory | gap |",
        "|---" * 8 + "|",
        *(_row(row) for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _row(row: Measured) -> str:
    kind = "joint" if row.recompute else "move"
    per_thousand = 1000 * row.busy_s / row.operators
    return (
        f"| {row.layers} | {kind} | {row.operators:,} | {row.slices:,} | {row.busy_s:.1f} s | {per_thousand:.2f} |"
        f" {format_bytes(row.peak_bytes)} | {row.gap:.2%} |"
    )


if __name__ == "__main__":
    main()
