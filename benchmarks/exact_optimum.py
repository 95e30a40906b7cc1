"""Our plans and their bounds beside the exact optimum of random tiny steps, latencies included (`tests.support.exact`).

Run ``python benchmarks/exact_optimum.py`` (about 15 minutes on one quiet core); with ``--show SEED`` it prints the best
schedule of one step beside what the engine does with our plan.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from tests.support.exact.drive_states import TickLane
from tests.support.exact.optimum import ExactOptimum, Schedules, TooManyStatesError
from tests.support.exact.tick_step import TickStep, random_tick_step

from tmtrain.policies import follow, plan
from tmtrain.simulation import simulate

OBJECTIVES = ("time", "energy", "bytes", "writes")
SAME = 1e-9
MOST_FRUGAL_STATES = 40_000
"""What was in vain has to be remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCase:
    """One step under one objective, relative to its optimum."""

    seed: int
    objective: str
    plan: float
    frugal: float
    """The least that schedules need which a plan could ask for: nothing moves in vain."""
    bound: float
    origin: str


def main() -> None:
    """Read the arguments; print tables, or one step."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--count", type=int, default=300, help="seeds")
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES, choices=OBJECTIVES)
    parser.add_argument(
        "--show", type=int, help="print the best schedule of this seed, and what our plan does"
    )
    arguments = parser.parse_args()
    if arguments.show is not None:
        print("\n".join(shown(random_tick_step(arguments.show), objective=arguments.objectives[0])))
        return
    seeds = range(arguments.first, arguments.first + arguments.count)
    cases: list[ExactCase] = []
    still, large = 0, 0
    for seed in seeds:
        try:
            found = compared(seed, objectives=arguments.objectives)
        except TooManyStatesError:
            large += 1
            continue
        still += not found
        cases += found
    moving = len(cases) // len(arguments.objectives)
    print(
        f"Seeds {seeds.start} to {seeds.stop - 1}: {moving} steps in which something must move, {still} without, "
        f"{large} with too many states.\n"
    )
    print("\n".join(table(cases)))
    print()
    print("\n".join(worst(cases)))


def compared(seed: int, *, objectives: Sequence[str]) -> list[ExactCase]:
    """Compare one step; nothing where nothing must move, as plan, bound and optimum are the ideal step then.

    Raises:
        TooManyStatesError: it has too many states.
    """
    step = random_tick_step(seed)
    schedules = Schedules(step)
    if not schedules.least("bytes").value:
        return []
    frugal = Schedules(step, frugal=True, most_states=MOST_FRUGAL_STATES)
    return [compare(step, schedules, frugal, seed=seed, objective=objective) for objective in objectives]


def compare(
    step: TickStep, schedules: Schedules, frugal: Schedules, *, seed: int, objective: str
) -> ExactCase:
    """Plan a step and compare what the engine measures, and the bound, with the optimum."""
    least = schedules.least(objective).value
    ours = plan(step.timeline(), machine=step.machine(), objective=objective)
    proof = ours.certificate
    assert proof is not None
    assert proof.measured is not None

    def relative(value: float) -> float:
        return value / least if least else 1 + value

    return ExactCase(
        seed=seed,
        objective=objective,
        plan=relative(proof.measured),
        frugal=relative(frugal.least(objective).value),
        bound=relative(proof.bound.value),
        origin=ours.origin,
    )


def table(cases: list[ExactCase]) -> Iterator[str]:
    """Yield the rows of a distribution per objective; all but the shares are relative to the optimum."""
    yield (
        "| objective | plan: median | 95 % | worst | at the optimum | plans of the programme | "
        "nothing in vain: median | worst | bound: median | 5 % | least | most |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for objective in dict.fromkeys(case.objective for case in cases):
        mine = [case for case in cases if case.objective == objective]
        plans, frugal, bounds = (
            np.array([getattr(case, name) for case in mine]) for name in ("plan", "frugal", "bound")
        )
        own = Counter(case.origin for case in mine)["programme"] / len(mine)
        yield (
            f"| {objective} | {np.median(plans):.4f} | {np.quantile(plans, 0.95):.4f} | {plans.max():.4f} | "
            f"{np.mean(plans <= 1 + SAME):.0%} | {own:.0%} | {np.median(frugal):.4f} | {frugal.max():.4f} | "
            f"{np.median(bounds):.4f} | {np.quantile(bounds, 0.05):.4f} | {bounds.min():.4f} | {bounds.max():.4f} |"
        )


def worst(cases: list[ExactCase]) -> Iterator[str]:
    """Yield the rows of the plans that are farthest from the optimum."""
    yield "| objective | seed | plan | nothing in vain | bound | plan by |"
    yield "|---|---|---|---|---|---|"
    for objective in dict.fromkeys(case.objective for case in cases):
        mine = [case for case in cases if case.objective == objective and case.plan > 1 + SAME]
        for case in sorted(mine, key=lambda case: -case.plan)[:6]:
            yield (
                f"| {objective} | {case.seed} | {case.plan:.4f} | {case.frugal:.4f} | {case.bound:.4f} | "
                f"{case.origin} |"
            )


def shown(step: TickStep, *, objective: str) -> Iterator[str]:
    """Yield the best schedule of a step, and what the engine does with our plan."""
    yield str(step)
    optimum = Schedules(step).least(objective)
    yield f"optimum {optimum.value:g}, by {sum(move.ends_step for move in optimum.moves)} steps:"
    yield from best_schedule(optimum)
    ours = plan(step.timeline(), machine=step.machine(), objective=objective)
    proof = ours.certificate
    assert proof is not None
    yield f"plan {proof.measured:g} by {ours.origin}, bound {proof.bound.value:g}:"
    decision = follow(ours, step.timeline(), machine=step.machine())
    result = simulate(decision, machine=step.machine(), policy="ours")
    series, traffic = result.series, result.traffic
    begun = [
        (start, end, f"slice {t}")
        for t, (start, end) in enumerate(zip(series.start_s, series.end_s, strict=True))
    ]
    rows = zip(traffic.start_s, traffic.end_s, traffic.is_write, traffic.extent, strict=True)
    begun += [
        (start, end, f"{'write' if is_write else 'read'} {extent}") for start, end, is_write, extent in rows
    ]
    for start, end, what in sorted(begun):
        yield f"{start:6g} to {end:6g}: {what}"


def best_schedule(optimum: ExactOptimum) -> Iterator[str]:
    """Yield what is under way at each end of something, from the end of a step on."""
    moves = optimum.moves
    first = next(i for i, move in enumerate(moves) if move.ends_step) + 1
    now = 0
    for move in moves[first:] + moves[:first]:
        now += move.ticks
        state = move.state
        runs = f"{state.running} left" if state.running else "waits"
        yield (
            f"{now:6g}: slice {state.slice} {runs}, reads {_lane(state.read)}, writes {_lane(state.write)}, "
            f"dirty {state.dirty}, clean {state.clean}"
        )


def _lane(lane: TickLane) -> str:
    return f"{lane.extent} ({lane.latency + lane.left} left)" if lane.left else "-"


if __name__ == "__main__":
    main()
