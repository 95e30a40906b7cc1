"""What keeping, moving and recomputing would cost for each piece of content, at the prices of the bound.

Note [Prices of fates]
    The multipliers of a bound price everything that is scarce: a page of fast memory at each slice, a page that has to be
    in by a slice, a page to be written. At these prices each piece can be judged alone, and by complementary slackness an
    optimal plan gives it no fate that is dearer than another. The costs below are sums of what the programme charges the
    columns (`Programme.charges`) that stand for a page of the piece:

    keep       the memory all along, less what recomputations pay because it is there when they read it
    move       a page to be written and one to be in when the access gap ends; or, if that is cheaper, in by the recompute
               point of a recomputation that reads it, and kept from then on
    recompute  seconds and joules of the recomputation, the inputs that it reads, and the memory from its recompute point
               on; where a recomputation makes several results, they share it by what each of them saves

    A transfer that fits beside the computation costs no time, so its price is that of its joules; where the link is busy
    the price of a page to be in, or out, tells how much the step waits for it.
"""

from dataclasses import dataclass

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.formulation.recomputations import recompute_costs
from tmtrain.planning.programme.model import build_model
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.ids import RecomputationId
from tmtrain.plans.plan import Bound

_MEMORY = ("absence", "room")
_TIES = ("order", "makes")
"""Rows that tie the columns of one piece to each other: no scarce thing has this price."""
_INPUTS = ("reads", "chains")
_FETCH = ("cost", "reads ahead", "in time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Objective units for one page of a piece; what a fate consists of sums to it."""

    keep: dict[str, float]
    move: dict[str, float]
    recompute: dict[str, float] | None
    """None where no producer makes it."""

    def total(self, fate: str) -> float:
        """Return the cost of "keep", "move" or "recompute"; infinite where it is impossible."""
        parts = getattr(self, fate)
        return sum(parts.values()) if parts is not None else np.inf

    @property
    def cheapest(self) -> str:
        """The fate that costs least, the one that leaves things as they are among equals."""
        return min(("keep", "move", "recompute"), key=self.total)


class Alternatives:
    """Prices the fates of access gaps and units, see Note [Prices of fates]."""

    def __init__(
        self,
        problem: Problem,
        *,
        timeline: Timeline,
        machine: Machine,
        objective: Objective,
        candidates: RecomputeCandidates,
        bound: Bound,
        write_budget_bytes: float | None = None,
    ) -> None:
        """Price the fates of a step.

        Args:
            problem: Its gaps.
            timeline: The step without recomputations.
            machine: As planned for.
            objective: What the bound is for.
            candidates: What may be recomputed.
            bound: Whose multipliers are the prices.
            write_budget_bytes: As planned with.

        Raises:
            InputError: the bound is of another problem.
        """
        model = build_model(
            problem,
            timeline=timeline,
            machine=machine,
            objective=objective,
            candidates=candidates,
            write_budget_bytes=write_budget_bytes,
        )
        self._model, self._candidates, self._objective = model, candidates, objective
        self._y = model.prices(bound)
        self._charges = model.programme.charges(self._y)
        self._seconds, self._joules = recompute_costs(timeline, machine, candidates)
        self._paid = np.concatenate([[0.0], np.cumsum(bound.capacity_price)])
        moved = model.programme.columns["moved"]
        self._column_of_gap = dict(zip(model.gaps.tolist(), range(moved.start, moved.stop), strict=True))
        # A unit has a column for what needs no fetch, and one for each of its recompute points.
        self._first = model.programme.columns["there"].start + candidates.first_columns
        self._maker: dict[int, tuple[RecomputationId, int]] = {
            result.unit: (result.recomputation, row) for row, result in enumerate(candidates.results)
        }
        self._result_pages = np.zeros(len(candidates.recomputations))
        for result in candidates.results:
            self._result_pages[result.recomputation] += candidates.units[result.unit].pages

    def of_gap(self, gap: int) -> Costs:
        """Price a gap that no unit stands for; one that lacks no memory is kept for nothing."""
        column = self._column_of_gap.get(gap)
        if column is None:
            return Costs(keep={"memory": 0.0}, move=self._idle_move(), recompute=None)
        return Costs(
            keep={"memory": -self._sum([column], *_MEMORY)},
            move={"fetch": self._sum([column], *_FETCH), "write": self._write([column])},
            recompute=None,
        )

    def of_unit(self, unit: int) -> Costs:
        """Price a unit."""
        columns = list(range(int(self._first[unit]), int(self._first[unit + 1])))
        keep = {
            "memory": self._sum(columns, *_MEMORY),
            "saved to recomputations": self._sum(columns, *_INPUTS),
        }
        # The columns stand for what is there, so what is not there, and moves, is charged the opposite.
        at_end = {"fetch": -self._sum(columns, *_FETCH), "write": -self._write(columns)}
        moves = [at_end] + [self._early(at_end, columns[j:]) for j in range(1, len(columns))]
        move = min(moves, key=lambda parts: sum(parts.values()))
        return Costs(keep=_rid(keep), move=_rid(move), recompute=self._recompute(unit, keep))

    def _early(self, at_end: dict[str, float], points: list[int]) -> dict[str, float]:
        """Move, but be back at a recompute point and stay from then on."""
        return {
            "fetch": at_end["fetch"] + self._sum(points, *_FETCH),
            "write": at_end["write"] + self._write(points),
            "memory": self._sum(points, *_MEMORY),
            "saved to recomputations": self._sum(points, *_INPUTS),
        }

    def _recompute(self, unit: int, keep: dict[str, float]) -> dict[str, float] | None:
        if unit not in self._maker:
            return None
        recomputation, row = self._maker[unit]
        if recomputation in self._candidates.impossible:
            return None
        column = self._model.programme.columns["recomputed"].start + recomputation
        reduced = sum(float(part[column]) for part in self._charges.values())
        # What it costs beside keeping: less by the price of "as much is there as is made", more by what the recomputation
        # loses, which is nothing where the plan recomputes.
        row_price = float(self._y[self._model.programme.rows["makes"].start + row]) / self._model.page_unit
        total = sum(keep.values()) - row_price + reduced / self._result_pages[recomputation]
        start, point = self._candidates.units[unit].start, self._candidates.units[unit].points[0]
        hold = keep["memory"] - float(self._paid[point] - self._paid[start + 1])
        parts = {
            "joules": self._objective.per_joule * float(self._joules[recomputation]),
            "seconds": self._objective.per_second * float(self._seconds[recomputation]),
            "inputs": sum(float(self._charges[name][column]) for name in _INPUTS if name in self._charges),
        }
        unscarce = sum(
            float(self._charges[name][column]) for name in (*_MEMORY, *_TIES) if name in self._charges
        )
        # What is left is what the link earns, or loses, because the step computes for longer.
        parts["link"] = reduced - sum(parts.values()) - unscarce
        # The parts are those of all its results: this one bears as much of each as its total says.
        whole = sum(parts.values())
        share = (total - hold - keep["saved to recomputations"]) / whole if whole else 0.0
        shared = {name: part * share for name, part in parts.items()}
        return _rid(shared | {"memory": hold, "saved to recomputations": keep["saved to recomputations"]})

    def _idle_move(self) -> dict[str, float]:
        """Moving where nobody waits for it: the prices of the machine."""
        bytes_ = self._model.page_bytes
        return {"fetch": self._objective.per_byte_in * bytes_, "write": self._objective.per_byte_out * bytes_}

    def _sum(self, columns: list[int], *families: str) -> float:
        """Sum what some families charge the columns, per page."""
        charges = [self._charges[name][columns].sum() for name in families if name in self._charges]
        return float(sum(charges)) / self._model.page_unit

    def _write(self, columns: list[int]) -> float:
        """All that is charged and is nothing else: [Dirty], [Writes] and [Wear]."""
        others = {*_MEMORY, *_TIES, *_INPUTS, *_FETCH}
        return self._sum(columns, *(name for name in self._charges if name not in others))


def _rid(parts: dict[str, float]) -> dict[str, float]:
    """Leave out what plays no part."""
    largest = max((abs(part) for part in parts.values()), default=0.0)
    kept = {name: part for name, part in parts.items() if abs(part) > 1e-9 * largest}
    return kept or dict.fromkeys(list(parts)[:1], 0.0)
