"""The golden texts: what is dumped, and `python -m tests.golden.write` to write it anew after a wanted change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tests.support.dump import dump_timeline
from tests.support.row_steps import IDLE_STEP, lowered, row_machine

from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine, load_machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.model import build_model
from tmtrain.planning.recomputation.partitions import find_partitions
from tmtrain.trace import example_trace

FOLDER = Path(__file__).parent
PAGE_BYTES = 1024
FAST_PAGES = 12
"""A matrix of the example has 4 pages, its step 29 at the most."""


def small_pages() -> Machine:
    """The default machine with pages of 1 KiB, so that the matrices of the example can be cut."""
    machine = load_machine("v4-slc")
    return replace(machine, slow=replace(machine.slow, page_bytes=PAGE_BYTES))


def timeline() -> Timeline:
    """The example step in slices of about half of a small fast tier."""
    return lower(
        example_trace(), machine=small_pages(), fast_bytes=FAST_PAGES * PAGE_BYTES, slice_share=1 / 2
    )


def model() -> str:
    """The planning problem of a step that may keep, move or recompute one storage, for least bytes."""
    machine = row_machine(pages_per_s=1.0)
    step = lowered(IDLE_STEP, machine=machine, spare_pages=0)
    problem = build_problem(step)
    candidates = find_partitions(step, problem)[0].candidates
    goal = make_objective("bytes", timeline=step, machine=machine)
    return f"{build_model(problem, timeline=step, machine=machine, objective=goal, candidates=candidates)}\n"


STAGES: dict[str, Callable[[], str]] = {
    "timeline": lambda: dump_timeline(timeline(), example_trace()),
    "model": model,
}

if __name__ == "__main__":
    for name, dump in STAGES.items():
        (FOLDER / f"{name}.txt").write_text(dump())
