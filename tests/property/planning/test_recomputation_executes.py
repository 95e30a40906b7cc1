"""Rewritten steps compute the same numbers: every recomputation finds its rows, and backward reads what it read before."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tests.support.execution import execute
from tests.support.row_steps import RowStep, lowered, random_step, row_machine

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.energy import compute_energy_j
from tmtrain.lowering.recomputation import Recomputations, no_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.recomputation.blocks import find_blocks, storage_life
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.choice import ROUNDINGS, _row_masks, choose_recomputations
from tmtrain.planning.recomputation.finding import find_candidates
from tmtrain.trace import Phase

SHARES = (1.0, 0.26)
"""Whole operators; operators cut into a few slices."""


def feasible_shares(candidates: RecomputeCandidates, rng: random.Random) -> np.ndarray:
    """Draw a share for every recomputation, then raise those whose result another one reads."""
    possible = np.array([q not in candidates.impossible for q in range(len(candidates.recomputations))], bool)
    shares = np.array([rng.choice((0.0, 1.0, rng.random())) for _ in candidates.recomputations])
    for _ in range(len(shares) + 1):
        for read in candidates.chained_reads:
            shares[read.source] = max(shares[read.source], shares[read.reader])
        for read in candidates.chained_reads:
            shares[read.reader] *= possible[read.source]
        shares *= possible
    return shares


class Rewritten:
    """A random step, before and after."""

    def __init__(self, seed: int, *, slice_share: float) -> None:
        rng = random.Random(seed)
        self.step: RowStep = random_step(seed)
        self.machine: Machine = row_machine(seed=seed)
        # Two thirds of a row is no row: only steps of 2 or 4 rows are cut.
        share = slice_share if self.step.rows != 3 else 1.0
        self.before: Timeline = lowered(
            self.step, machine=self.machine, spare_pages=rng.randint(0, 9), slice_share=share
        )
        life = storage_life(self.before)
        blocks = find_blocks(self.before, life, holding=rng.choice((0.0, 0.25, 4.0, 50.0)))
        candidates = find_candidates(self.before, build_problem(self.before), life=life, blocks=blocks)
        shares = feasible_shares(candidates, rng)
        self.recomputations: Recomputations = choose_recomputations(
            candidates, shares, timeline=self.before, life=life, rounding=ROUNDINGS[0]
        )
        self.after: Timeline = insert_recomputations(self.before, self.recomputations, machine=self.machine)


def check_numbers(seed: int, *, slice_share: float) -> bool:
    """Return whether anything was recomputed."""
    case = Rewritten(seed, slice_share=slice_share)
    before, after = execute(case.step, case.before), execute(case.step, case.after)
    for name, pages in before.gradients.items():
        np.testing.assert_array_equal(after.gradients[name], pages)
    return len(case.recomputations) > 0


@pytest.mark.parametrize("slice_share", SHARES)
def test_backward_reads_the_very_same_numbers(slice_share: float) -> None:
    assert sum(check_numbers(seed, slice_share=slice_share) for seed in range(120)) > 90


@pytest.mark.slow
@pytest.mark.parametrize("slice_share", SHARES)
def test_backward_reads_the_very_same_numbers_in_thousands_of_steps(slice_share: float) -> None:
    for seed in range(1000, 4000):
        check_numbers(seed, slice_share=slice_share)


def test_an_execution_notices_a_recompute_that_makes_nothing() -> None:
    """The judge judges: without the results of one of the further slices something is read that is gone."""
    noticed, tried = 0, 0
    for seed in range(60):
        case = Rewritten(seed, slice_share=1.0)
        access, ptr = case.after.accesses, case.after.accesses.ptr
        of_forward = np.array([op.phase != Phase.BACKWARD for op in case.step.ops])[case.after.slices.op]
        recomputed = np.flatnonzero((case.after.slices.phase == Phase.BACKWARD) & of_forward)
        if not len(recomputed):
            continue
        t, tried = int(recomputed[-1]), tried + 1
        writes = access.writes.copy()
        writes[ptr[t] : ptr[t + 1]] = False
        try:
            execute(case.step, replace(case.after, accesses=replace(access, writes=writes)))
        except AssertionError:
            noticed += 1
    assert tried > 40
    assert noticed > 0.6 * tried, "what a recomputation makes may be dead, but rarely is"


def test_no_recomputations_are_no_change() -> None:
    step = random_step(1)
    machine = row_machine()
    timeline = lowered(step, machine=machine, spare_pages=2)
    assert insert_recomputations(timeline, no_recomputations(), machine=machine) is timeline


@pytest.mark.parametrize("slice_share", SHARES)
def test_content_has_a_writer_and_costs_add_up(slice_share: float) -> None:
    for seed in range(60):
        case = Rewritten(seed, slice_share=slice_share)
        check_writers(case.after)
        check_frees(case.after)
        check_costs(case)


def check_writers(timeline: Timeline) -> None:
    """Every access that needs content follows a write of it; what is dead in between needs a new one."""
    access = timeline.accesses
    at = np.repeat(np.arange(len(timeline.slices)), np.diff(access.ptr))
    alive = timeline.extents.persistent.copy()
    for row in range(len(at)):
        extent = int(access.extent[row])
        assert alive[extent] or not access.needs_content[row], (
            f"slice {at[row]} needs what nobody has written"
        )
        alive[extent] = access.next_slice[row] >= 0
    survives = timeline.extents.persistent & np.isin(np.arange(len(alive)), access.extent)
    np.testing.assert_array_equal(alive[survives], True)


def check_frees(timeline: Timeline) -> None:
    access, frees = timeline.accesses, timeline.frees
    at = np.repeat(np.arange(len(timeline.slices)), np.diff(access.ptr))
    last = np.full(len(timeline.extents), -1)
    np.maximum.at(last, access.extent, at)
    freed = np.repeat(np.arange(len(timeline.slices)), np.diff(frees.ptr))
    assert (freed >= last[frees.extent]).all()
    assert len(np.unique(frees.extent)) == len(frees.extent)


def check_costs(case: Rewritten) -> None:
    """Recomputations of all rows of a producer cost at least what its operators cost, of a part at least that part."""
    producers, before = case.before.producers, case.before.slices
    least_s = 0.0
    for producer, first, end, rows in zip(
        case.recomputations.producer,
        case.recomputations.first_row,
        case.recomputations.end_row,
        case.recomputations.rows,
        strict=True,
    ):
        ops = producers.op[producers.op_ptr[producer] : producers.op_ptr[producer + 1]]
        least_s += float(before.duration_s[np.isin(before.op, ops)].sum()) * (end - first) / rows
    assert case.after.compute_s - case.before.compute_s >= least_s * (1 - 1e-9)
    energy = compute_energy_j(case.after.slices, machine=case.machine)
    assert energy >= compute_energy_j(case.before.slices, machine=case.machine)


def test_rows_are_nested_as_their_shares_are() -> None:
    """Of two recomputations of a strip the one with the larger share has all rows of the other: Note [Nested rows]."""
    compared = 0
    for seed in range(80):
        rng, step = random.Random(seed), random_step(seed)
        timeline = lowered(step, machine=row_machine(seed=seed), spare_pages=rng.randint(0, 9))
        life = storage_life(timeline)
        blocks = find_blocks(timeline, life, holding=0.25)
        candidates = find_candidates(timeline, build_problem(timeline), life=life, blocks=blocks)
        shares = feasible_shares(candidates, rng)
        masks = _row_masks(candidates, shares, down=False)
        order = np.argsort(shares, kind="stable").tolist()
        for small, large in pairwise([candidates.recomputations[q] for q in order]):
            if small.strip == large.strip:
                none = np.zeros(small.rows.count, bool)
                less = masks.get(small.producer, none)
                assert not (less & ~masks.get(large.producer, none)).any()
                compared += less.any()
    assert compared > 40
