"""Rules of the G10 artifact inside our engine, one at a time: by them `g10_judgement.py` explains differences."""

import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from tmtrain.deciding import Decision, Knowledge
from tmtrain.lowering import Timeline
from tmtrain.lowering.extents import next_slices
from tmtrain.lowering.timeline import Frees
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.tensors import find_tensors


def dead_stay(timeline: Timeline) -> Timeline:
    """Return the step in which addresses are never handed out again: what is dead stays until it is evicted."""
    return replace(
        timeline,
        extents=replace(timeline.extents, persistent=np.ones(len(timeline.extents), bool)),
        frees=Frees(ptr=np.zeros(len(timeline.slices) + 1, np.int64), extent=np.zeros(0, np.int32)),
    )


def dead_move(timeline: Timeline) -> Timeline:
    """Return the step of `dead_stay` in which, moreover, a first use brings the old bytes in before it overwrites them."""
    access = timeline.accesses
    always = np.ones(len(access.extent), bool)
    following = next_slices(slice_of_access(timeline), access.extent, always)
    return replace(dead_stay(timeline), accesses=replace(access, needs_content=always, next_slice=following))


def never_told(decision: Decision) -> Decision:
    """Return the decision of a pager that does not learn of deaths."""
    return replace(decision, knowledge=Knowledge.NEVER)


def planned_by_artifact(folder: Path, policy: str, *, timeline: Timeline, machine: Machine) -> Decision:
    """Return the plan of the artifact's planner for `policy` (plans.csv), to be run by our rules.

    A kernel is a slice here. What has no read in the plan comes back as early as it fits, as FlashNeuron fetches.
    """
    tensors = find_tensors(timeline, machine=machine)
    periods, T = tensors.periods, tensors.num_slices
    evicted, fetched = _hints(folder, policy)
    chosen, fetch = np.zeros(len(periods), bool), periods.end.copy()
    for p, (storage, start, end) in enumerate(
        zip(periods.storage.tolist(), periods.start.tolist(), periods.end.tolist(), strict=True)
    ):
        chosen[p] = any(start <= kernel + lap < end for kernel in evicted[storage] for lap in (0, T))
        reads = [kernel + lap for kernel in fetched[storage] for lap in (0, T) if start < kernel + lap <= end]
        fetch[p] = min(reads, default=-1)
    eager = fetch_where_it_fits(tensors, chosen, latest=periods.end, earliest=periods.start + 1)
    return advise(tensors, chosen, fetch=np.where(fetch < 0, eager, fetch), name=policy)


def _hints(folder: Path, policy: str) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """Return the kernels at which each tensor is evicted, and at which it is fetched."""
    evicted: dict[int, list[int]] = defaultdict(list)
    fetched: dict[int, list[int]] = defaultdict(list)
    with (folder / "plans.csv").open(newline="") as recorded:
        for row in csv.DictReader(recorded):
            if row["policy"] == policy and row["action"] != "free":
                side = fetched if row["action"] == "to_gpu" else evicted
                side[int(row["tensor_id"])].append(int(row["issue_kernel"]))
    return evicted, fetched
