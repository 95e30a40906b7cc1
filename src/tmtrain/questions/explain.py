"""Why a tensor is kept, moved or recomputed: its access gaps, what the plan does in them, and what each fate costs."""

import difflib
import fnmatch
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.partitions import partition_at
from tmtrain.plans.file import check_plan_fits
from tmtrain.plans.plan import Plan
from tmtrain.questions.alternatives import Alternatives, Costs
from tmtrain.questions.fates import Fates, find_fates
from tmtrain.trace import Phase, Role, Trace

SUGGESTIONS = 5
"""Names that a miss is answered with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUse:
    """An end of an access gap: the operator that uses the tensor there."""

    op: int
    operator: str
    module: str
    phase: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GapStory:
    """One access gap of a storage: the time between two uses, over whose end the content is needed."""

    bytes: int
    after: StorageUse
    before: StorageUse
    wraps: bool
    """Round the end of the step."""
    lasts_s: float
    """Of computation, recomputations and waiting apart."""
    kept_bytes: int
    moved_bytes: int
    recomputed_bytes: int
    keep: dict[str, float]
    """Cost of keeping all of it, in objective units, by what it consists of."""
    move: dict[str, float]
    recompute: dict[str, float] | None
    """None: no producer makes it."""

    @property
    def costs(self) -> dict[str, float]:
        """Total of each fate that is possible."""
        fates = {"keep": self.keep, "move": self.move, "recompute": self.recompute}
        return {name: sum(parts.values()) for name, parts in fates.items() if parts is not None}

    @property
    def cheapest(self) -> str:
        """Fate that costs least; the first of keep, move, recompute among equals."""
        costs = self.costs
        return min(costs, key=lambda fate: costs[fate])


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageStory:
    """One storage and its gaps, in the order of the step."""

    name: str
    role: str
    module: str
    bytes: int
    has_producer: bool
    """It can be recomputed; whether it may be in a plan, `tmtrain.planning.recomputation.blocks` decides."""
    gaps: tuple[GapStory, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The storages that were asked about, and the unit of all costs."""

    objective: str
    unit: str
    """"J", "s", "B", or "" for a mix."""
    storages: tuple[StorageStory, ...]


def explain(plan: Plan, tensor: str, *, trace: Trace, timeline: Timeline, machine: Machine) -> Explanation:
    """Say what a plan does with a tensor, and what the alternatives cost at the prices of its certificate.

    The prices are marginal: what one page more or less of a fate is worth to the whole plan. A fate that many pages have
    may look as dear as its alternative; then the planner took so much of it that both are worth the same.

    Args:
        plan: With a certificate.
        tensor: Name of a storage, path of a module, or a glob over either.
        trace: The step.
        timeline: As planned for, without recomputations.
        machine: As planned for.

    Raises:
        InputError: no such tensor (close names are suggested), or the plan has no prices or is for another step.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> from tmtrain.trace import example_trace
    >>> machine = load_machine("v4-slc")
    >>> step = {"trace": example_trace(), "timeline": example_timeline(), "machine": machine}
    >>> explanation = explain(example_plan(), "0.weight", **step)
    >>> [gap.before.phase for gap in explanation.storages[0].gaps]
    ['optimizer']
    """
    check_plan_fits(plan, timeline)
    wanted = find_storages(trace, tensor)
    storyteller = _Storyteller(plan, trace, timeline, machine)
    objective = make_objective(plan.objective, timeline=timeline, machine=machine)
    return Explanation(
        objective=plan.objective,
        unit=objective.unit,
        storages=tuple(storyteller.tell(storage) for storage in wanted),
    )


def find_storages(trace: Trace, tensor: str) -> list[int]:
    """Return the storages of that name, else those made or owned by the module of that path, else those that the glob fits.

    Raises:
        InputError: none; suggests close names.

    >>> from tmtrain.trace import example_trace
    >>> find_storages(example_trace(), "state:*")
    [1]
    """
    names, modules = trace.storages.name, trace.storages.module
    pairs = list(enumerate(zip(names, modules, strict=True)))
    hits = [i for i, (name, _) in pairs if name == tensor]
    if not hits and tensor:
        hits = [i for i, (name, module) in pairs if module == tensor or name.startswith(f"{tensor}.")]
    if not hits:
        glob = fnmatch.fnmatchcase
        hits = [i for i, (name, module) in pairs if glob(name, tensor) or glob(module, tensor)]
    if hits:
        return hits
    known = list(dict.fromkeys([*names, *modules]))
    close = difflib.get_close_matches(tensor, known, n=SUGGESTIONS, cutoff=0.5)
    hint = f"did you mean {', '.join(close)}?" if close else 'try a glob such as "*.weight"'
    raise InputError(f"no tensor or module {tensor!r} in the step of {trace.model}: {hint}")


class _Storyteller:
    """What it takes to tell the story of any storage: gaps, units, fates and prices."""

    def __init__(self, plan: Plan, trace: Trace, timeline: Timeline, machine: Machine) -> None:
        self._trace, self._timeline = trace, timeline
        self._problem: Problem = build_problem(timeline)
        # Where everything fits, nothing is scarce: prices of zero are then no sign of a solver out of time.
        proof, is_scarce = plan.certificate, bool((self._problem.over_pages > 0).any())
        if proof is None or (is_scarce and not any(p.any() for p in proof.bound.multipliers.values())):
            raise InputError(
                "the plan has no prices: it was made without a certificate, or the solver was out of time; "
                "plan anew with a longer --time-limit"
            )
        candidates = RecomputeCandidates()
        if proof.recomputes:
            candidates = partition_at(proof.cuts, timeline, self._problem).candidates
        self._candidates = candidates
        self._fates: Fates = find_fates(plan, timeline, self._problem, machine=machine)
        self._prices = Alternatives(
            self._problem,
            timeline=timeline,
            machine=machine,
            candidates=candidates,
            bound=proof.bound,
            objective=make_objective(plan.objective, timeline=timeline, machine=machine),
            write_budget_bytes=proof.write_budget_bytes,
        )
        self._units_of: dict[int, list[int]] = defaultdict(list)
        for number, unit in enumerate(candidates.units):
            for gap in unit.gaps:
                self._units_of[gap].append(number)
        producers = timeline.producers
        self._recomputable = set(producers.touch_storage[producers.touch_writes].tolist())
        self._clock = np.concatenate([[0.0], np.cumsum(timeline.slices.duration_s)])

    def tell(self, storage: int) -> StorageStory:
        """Gather the gaps of a storage; extents whose gaps have the same ends are told together."""
        gaps, table, op = self._problem.gaps, self._trace.storages, self._timeline.slices.op
        own = np.flatnonzero(self._timeline.extents.storage[gaps.extent] == storage)
        together: dict[tuple[int, int, bool], list[int]] = defaultdict(list)
        for gap in own[np.lexsort((gaps.end[own], gaps.start[own]))].tolist():
            start, end = int(gaps.start[gap]), int(gaps.end[gap])
            together[int(op[start]), int(op[end]), end <= start].append(gap)
        return StorageStory(
            name=table.name[storage],
            role=Role(int(table.role[storage])).name.lower().replace("_", " "),
            module=table.module[storage],
            bytes=int(table.bytes[storage]),
            has_producer=storage in self._recomputable,
            gaps=tuple(self._story(np.array(members)) for members in together.values()),
        )

    def _story(self, members: NDArray[np.int64]) -> GapStory:
        gaps, page = self._problem.gaps, self._timeline.page_bytes
        start, end = int(gaps.start[members[0]]), int(gaps.end[members[-1]])
        wraps = end <= start
        costs = [(int(gaps.pages[gap]), self._costs(gap)) for gap in members.tolist()]
        possible = all(cost.recompute is not None for _, cost in costs)
        return GapStory(
            bytes=int(gaps.pages[members].sum()) * page,
            after=self._use(start),
            before=self._use(end),
            wraps=wraps,
            lasts_s=float(self._clock[end] - self._clock[start + 1] + (self._clock[-1] if wraps else 0.0)),
            kept_bytes=int(self._fates.kept[members].sum()) * page,
            moved_bytes=int(self._fates.moved[members].sum()) * page,
            recomputed_bytes=int(self._fates.recomputed[members].sum()) * page,
            keep=_added([(pages, cost.keep) for pages, cost in costs]),
            move=_added([(pages, cost.move) for pages, cost in costs]),
            recompute=_added([(pages, cost.recompute or {}) for pages, cost in costs]) if possible else None,
        )

    def _costs(self, gap: int) -> Costs:
        """Price a page of a gap: on average over the units that stand for it."""
        units = self._units_of.get(gap, [])
        if not units:
            return self._prices.of_gap(gap)
        priced = [(self._candidates.units[unit].pages, self._prices.of_unit(unit)) for unit in units]
        whole = sum(pages for pages, _ in priced)
        shares = [(pages / whole, cost) for pages, cost in priced]
        possible = all(cost.recompute is not None for _, cost in shares)
        return Costs(
            keep=_added([(share, cost.keep) for share, cost in shares]),
            move=_added([(share, cost.move) for share, cost in shares]),
            recompute=_added([(share, cost.recompute or {}) for share, cost in shares]) if possible else None,
        )

    def _use(self, t: int) -> StorageUse:
        op, operators = int(self._timeline.slices.op[t]), self._trace.operators
        return StorageUse(
            op=op,
            operator=operators.name[op],
            module=operators.module[op],
            phase=Phase(int(operators.phase[op])).name.lower(),
        )


def _added(parts: list[tuple[float, dict[str, float]]]) -> dict[str, float]:
    total: dict[str, float] = defaultdict(float)
    for weight, costs in parts:
        for name, cost in costs.items():
            total[name] += weight * cost
    return dict(total)
