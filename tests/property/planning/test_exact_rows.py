"""Keep, move or recompute: the programme against every pattern of a row and any mixture of them (`row_patterns`).

This is the claim of Note [Nested rows] in `tmtrain.planning.recomputation.candidates`: shares with a common order are as
good as all patterns. Exact where the link is not in the way and every storage of a block is one extent. The class of plans
(cuts, recompute points, what may be held for recomputations) is that of the certificate.
"""

import random
from dataclasses import dataclass

import numpy as np
import pytest
from tests.support.row_patterns import Patterns, count_patterns
from tests.support.row_steps import PAGE, Op, RowStep, lowered, random_step, row_machine
from tests.support.thoroughness import seeds

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import Placement, solve
from tmtrain.planning.recomputation.blocks import RecomputeBlocks, find_blocks, storage_life
from tmtrain.planning.recomputation.finding import find_candidates
from tmtrain.trace import Phase

EXACT = 2e-5
"""Relative: the tie-break of Note [Longest gaps]."""
MOST_PATTERNS = 3000
HOLDING = (0.0, 0.25, 4.0, 50.0)
"""From one block for everything to a block per operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A step, lowered, with its blocks."""

    step: RowStep
    timeline: Timeline
    machine: Machine
    blocks: RecomputeBlocks
    objective: Objective

    @property
    def unit(self) -> float:
        """Of one page, in bytes where the objective counts those."""
        return float(PAGE) if self.objective.name in {"bytes", "writes"} else 1.0

    def solved(self, *, recompute: bool = True) -> Placement:
        timeline, problem = self.timeline, build_problem(self.timeline)
        life = storage_life(timeline)
        candidates = find_candidates(timeline, problem, life=life, blocks=self.blocks) if recompute else None
        return solve(
            problem, timeline=timeline, machine=self.machine, objective=self.objective, candidates=candidates
        )

    def patterns(self) -> Patterns:
        return Patterns(self.step, self.timeline, self.blocks)


def make_case(
    step: RowStep,
    *,
    seed: int,
    spare_pages: int,
    holding: float,
    objective: str = "energy",
    pages_per_s: float = 1e9,
) -> Case:
    machine = row_machine(seed=seed, pages_per_s=pages_per_s)
    timeline = lowered(step, machine=machine, spare_pages=spare_pages)
    blocks = find_blocks(timeline, storage_life(timeline), holding=holding)
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return Case(step=step, timeline=timeline, machine=machine, blocks=blocks, objective=goal)


def random_case(seed: int, *, pages_per_s: float = 1e9) -> Case:
    rng = random.Random(seed)
    step = random_step(seed)
    return make_case(
        step,
        seed=seed,
        spare_pages=rng.randint(0, max(1, step.most_touched() // 2)),
        holding=rng.choice(HOLDING),
        objective=rng.choice(("energy", "energy", "bytes", "writes")),
        pages_per_s=pages_per_s,
    )


def check_exact(case: Case) -> float:
    """Compare; return what recomputation gains over moving, in units."""
    ours = case.solved().optimum / case.unit
    truth = case.patterns().optimum(machine=case.machine, objective=case.objective) / case.unit
    assert ours == pytest.approx(truth, rel=EXACT, abs=1e-4)
    return case.solved(recompute=False).optimum / case.unit - ours


def check_range(seeds: range) -> tuple[int, int]:
    """Return how many were compared, and in how many recomputation gains."""
    compared, gains = 0, 0
    for seed in seeds:
        case = random_case(seed)
        if count_patterns(case.patterns()) <= MOST_PATTERNS:
            compared, gains = compared + 1, gains + (check_exact(case) > 1e-3)
    return compared, gains


def test_nested_shares_are_as_good_as_all_patterns_of_rows() -> None:
    tried = seeds(300)
    compared, gains = check_range(tried)
    assert compared > len(tried) * 2 / 3
    assert gains > len(tried) / 8, "instances in which nothing is recomputed test nothing"


@pytest.mark.slow
def test_nested_shares_are_as_good_as_all_patterns_of_rows_in_thousands_of_steps() -> None:
    compared, _ = check_range(range(1000, 4000))
    assert compared > 2000


def forward(*names: str, source: str = "x") -> list[Op]:
    return [Op(reads=(before,), makes=(name,)) for before, name in zip((source, *names), names, strict=False)]


def backward(*names: str) -> list[Op]:
    gradients = [f"g{i}" for i in range(len(names))]
    before = ["", *gradients]
    return [
        Op(reads=(*((b,) if b else ()), name), makes=(g,), phase=Phase.BACKWARD)
        for b, name, g in zip(before, names, gradients, strict=False)
    ]


def step_of(ops: list[Op], *, rows: int, pages: int = 1, large: tuple[str, ...] = ()) -> RowStep:
    names = dict.fromkeys(name for op in ops for name in op.touches)
    return RowStep(
        rows=rows, ops=tuple(ops), pages={n: rows * (3 * pages if n in large else pages) for n in names}
    )


CHAIN = step_of([*forward("a", "b", "c", "d"), *backward("d", "c", "b", "a")], rows=4, large=("b", "c"))
IN_PLACE = step_of(
    [
        *forward("a", "b"),
        Op(updates=("b",), random=True),
        *forward("c", source="b"),
        *backward("c", "b", "a"),
    ],
    rows=2,
)
DEAD_IN_BETWEEN = step_of([*forward("a", "b", "c", "d"), *backward("d", "b")], rows=4, large=("b",))
INPUT_READ_ONCE = step_of([*forward("a", "b", "c"), *backward("c", "b", "a")], rows=4, large=("a", "b"))
BRANCH = step_of(
    [
        *forward("a", "b"),
        Op(reads=("a", "b"), makes=("c", "d")),
        *forward("e", source="d"),
        *backward("e", "d", "c", "a"),
    ],
    rows=3,
)


@pytest.mark.parametrize("holding", HOLDING)
@pytest.mark.parametrize("step", [CHAIN, IN_PLACE, DEAD_IN_BETWEEN, INPUT_READ_ONCE, BRANCH])
def test_what_is_drawn_by_hand_is_exact_too(step: RowStep, holding: float) -> None:
    for seed in range(4):
        for spare in (0, 1, 3):
            check_exact(make_case(step, seed=seed, spare_pages=spare, holding=holding))


def test_a_chain_is_recomputed_from_the_input_when_moving_is_dear() -> None:
    """Some of `b` is recomputed from `a`, which is dead and recomputed from the input: only that one comes and goes."""
    step = step_of([*forward("a", "b", "c", "d"), *backward("b")], rows=2, large=("b",))
    case = make_case(step, seed=0, spare_pages=0, holding=0.0, objective="bytes")
    assert case.solved().optimum == pytest.approx(2 * PAGE), (
        "the two pages of x, which slice 1 has no room for"
    )
    assert check_exact(case) > 0


def test_a_dead_input_that_crosses_a_cut_is_held_or_moved_for_the_recomputation() -> None:
    """Two blocks: `b` crosses the cut and backward does not want it, but what recomputes `c` does."""
    ops = [*forward("a", "b", "c", "d", "e"), *backward("e", "d", "c", "a")]
    step = step_of(ops, rows=4, large=("c", "d"))
    held = 0
    for seed in range(12):
        machine = row_machine(seed=seed)
        timeline = lowered(step, machine=machine, spare_pages=seed % 4)
        blocks = RecomputeBlocks(
            cuts=np.array([0, 2, 5]), point=np.array([8, 6]), of_producer=np.array([0, 0, 1, 1, 1], np.int32)
        )
        goal = make_objective("energy", timeline=timeline, machine=machine)
        case = Case(step=step, timeline=timeline, machine=machine, blocks=blocks, objective=goal)
        held += check_exact(case) > 1e-3
        assert any(w.name == "b" and w.gap is None for w in case.patterns().wanted)
    assert held > 0


def test_a_slow_link_only_adds() -> None:
    """With a link that is in the way the joint optimum is above that of an infinitely fast one, and never above moving."""
    for seed in range(60):
        case = random_case(seed, pages_per_s=0.5)
        if case.objective.name != "energy" or count_patterns(case.patterns()) > MOST_PATTERNS:
            continue
        fast = case.patterns().optimum(machine=case.machine, objective=case.objective)
        joint, move = case.solved().optimum, case.solved(recompute=False).optimum
        assert fast * (1 - EXACT) - 1e-4 <= joint <= move * (1 + EXACT) + 1e-4
