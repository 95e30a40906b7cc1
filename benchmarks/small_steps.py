"""Ours and every rival on small captured steps, where latencies count: the measured gap, and who is better.

Run ``python benchmarks/small_steps.py`` (about 10 minutes on one core). Rivals that solve integer programmes (autotm, poet)
are left out: they take minutes on a thousand slices. Who recomputes is compared too.
"""

import argparse
from itertools import product

from tests.support.rivals import RIVALS, tried_rivals
from tests.support.small_steps import KINDS, small_trace

from tmtrain.errors import InfeasibleError
from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.policies import plan
from tmtrain.reporting.quantity import percent

COMPARED = tuple(name for name in RIVALS if name not in ("autotm-sync", "autotm-async", "poet"))


def main() -> None:
    """Read the arguments and print a table as it grows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kinds", nargs="*", default=KINDS, help="kinds of steps")
    parser.add_argument("--machines", nargs="+", default=("v4-slc", "a100-tlc5"))
    parser.add_argument("--objectives", nargs="+", default=("energy", "time"))
    parser.add_argument("--fractions", nargs="+", type=float, default=(0.25,))
    arguments = parser.parse_args()
    print(
        "| step | slices | machine | fast | objective | measured gap | plan by | best rival | ours / rival |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, name, fraction in product(arguments.kinds, arguments.machines, arguments.fractions):
        trace, machine = small_trace(kind), load_machine(name)
        page = machine.slow.page_bytes
        try:
            timeline = lower(
                trace, machine=machine, fast_bytes=int(trace.footprint_bytes * fraction) // page * page
            )
        except InfeasibleError:
            continue
        for objective in arguments.objectives:
            compared = compare(timeline, machine=machine, objective=objective)
            print(
                f"| {kind} | {len(timeline.slices)} | {name} | {fraction:.0%} | {objective} | {compared} |",
                flush=True,
            )


def compare(timeline: Timeline, *, machine: Machine, objective: str) -> str:
    """Return the cells of one comparison."""
    ours = plan(timeline, machine=machine, objective=objective)
    proof = ours.certificate
    tried = tried_rivals(timeline, machine=machine, objective=objective, rivals=COMPARED)
    needs = {name: need for name, _, need in tried}
    assert proof is not None
    assert proof.measured is not None
    best = min(needs, key=lambda name: needs[name])
    ratio = f"{proof.measured / needs[best]:.4f}" if needs[best] else "–"
    return f"{percent(proof.gap)} | {ours.origin} | {best} | {ratio}"


if __name__ == "__main__":
    main()
