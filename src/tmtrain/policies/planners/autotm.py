"""AutoTM: an integer programme for time decides which whole tensors are away, and when they are moved.

Source: M. Hildebrand et al., "AutoTM: automatic tensor movement in heterogeneous memory systems using integer linear
programming", ASPLOS 2020, section 4; code darchr/AutoTM at c6d4f2c (MIP gap 1 %, asynchronous moves within 15 nodes of a
use).

Inputs: the operators in order with their times, sizes and uses of tensors.

Rule: minimise the time of the step, subject to the capacity in each kernel.

* `autotm-sync`: every move stops the step; a tensor leaves after a use and comes back right before the next one.
* `autotm-async`: moves may run beside kernels at most 15 nodes from the use; a kernel lasts as long as its computation or
  the moves beside it, whichever is longer. What remains is synchronous.

Simplified: kernels cannot read the slow memory in place, as Optane could be: every operand is fetched. Asynchronous moves
are offered 1, 2, 4, 8 and 15 nodes from the use. In the rival's favour: a move may be spread over several nodes, both
directions run at once as far as the link allows, memory is free as soon as a tensor begins to leave, and nothing fragments.
The solver gets a minute; where it finds nothing, the policy refuses the step.

Note [Asynchronous AutoTM without its integers]
    Captured steps have 3,000 to 20,000 periods. The joint programme of tensors and asynchronous moves then has no
    integral solution after 10 s, and after 30 s one (GPT-2, BERT-large) or none (ResNet-152, Llama). So it is solved
    in up to three ways, of which the one with the fastest step counts: with its integers, in 10 s, where there are
    few (the imported G10 step has 1,269); as a linear programme, from which tensors that are away for more than half
    are away; and with the tensors of the synchronous solution, of which it only chooses where to hide the moves.
    Steps come out faster than with 30 s for the integers: GPT-2 at 12.5 % takes 0.133 s instead of 0.138 s, BERT-
    large at 50 % on znvme-g10 18.3 s instead of 18.8 s. What the rounded choice lacks is fetched on demand. On GPT-3
    (19,000 periods) the linear programme of both takes 30 to over 100 s and is left out: its step was 1.0 % slower
    than the third way's at 12.5 % on both machines, 1.0 % faster at 50 % on v4-slc, not found in 100 s at 50 % on
    znvme-g10. Where hiding the moves alone takes more than a minute, they begin as early as there is room, at most
    15 nodes ahead: where both were tried that costs 3 % at most.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.errors import InfeasibleError, PolicyError, TimeLimitError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.placement import GAP, TensorPlacement, add_placement, return_at, solve_placement
from tmtrain.policies.shared.tensors import Tensors, find_tensors

OFFSETS = (1, 2, 4, 8, 15)
"""Nodes between an asynchronous move and the use that it serves."""
LINEAR_TIME_LIMIT_S = 60.0
"""For a linear programme of asynchronous moves."""
FEW_PERIODS = 2000
"""Up to here asynchronous moves are solved for with integers."""
MANY_PERIODS = 15000
"""From here on asynchronous moves are solved for only once the tensors are chosen."""
INTEGRAL_TIME_LIMIT_S = 10.0
"""After which the best solution found counts; on the imported G10 step 30 s give the same."""
A_PART = 1e-6
"""Less of a tensor than that is rounding."""


class AutoTmSync(Policy):
    """AutoTM with synchronous moves."""

    name = "autotm-sync"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Solve for the least time of moves."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _synchronous.choose(tensors, name=self.name)
        return advise(tensors, chosen, fetch=tensors.periods.end, name=self.name)


class AutoTmChoice(Enum):
    """How the tensors that are away are chosen."""

    SYNCHRONOUS = "as if every move stopped the step"
    TOGETHER = "together with where moves are hidden"
    ROUNDED = "together, without integers, and rounded"


class AutoTmAsync(Policy):
    """AutoTM with asynchronous moves: Note [Asynchronous AutoTM without its integers]."""

    name = "autotm-async"

    def __init__(self, *, choice: AutoTmChoice = AutoTmChoice.SYNCHRONOUS) -> None:
        self._choice = choice

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Solve for the least time of kernels with the moves beside them."""
        tensors = find_tensors(timeline, machine=machine)
        if self._choice is AutoTmChoice.SYNCHRONOUS:
            chosen, fetch = self._hide(tensors)
        else:
            chosen, fetch = self._choose(tensors, integral=self._choice is AutoTmChoice.TOGETHER)
        return advise(tensors, chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """The ways to choose."""
        return tuple(AutoTmAsync(choice=choice) for choice in AutoTmChoice)

    def _choose(self, tensors: Tensors, *, integral: bool) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        if len(tensors.periods) > (FEW_PERIODS if integral else MANY_PERIODS):
            raise PolicyError(
                f"{self.name}: {len(tensors.periods)} periods are too many for its solver",
                policy=self.name,
                num_periods=len(tensors.periods),
            )
        programme = _Asynchronous(tensors)
        rows, moved = programme.rows, programme.placement.moved
        try:
            x = (
                rows.solve_integral(moved, gap=GAP, time_limit_s=INTEGRAL_TIME_LIMIT_S)
                if integral
                else rows.solve(time_limit_s=LINEAR_TIME_LIMIT_S).x
            )
        except TimeLimitError as error:
            raise PolicyError(
                f"{self.name}: the step is too large for its solver: {error}", policy=self.name
            ) from error
        return x[moved] > 0.5, programme.begin(x)

    def _hide(self, tensors: Tensors) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        chosen = _synchronous.choose(tensors, name=self.name)
        programme = _Asynchronous(tensors, chosen=chosen)
        try:
            return chosen, programme.begin(programme.rows.solve(time_limit_s=LINEAR_TIME_LIMIT_S).x)
        except (TimeLimitError, InfeasibleError):  # the latter by a rounding of the integers that were chosen
            end = tensors.periods.end
            return chosen, fetch_where_it_fits(tensors, chosen, latest=end, earliest=end - OFFSETS[-1])


class _Synchronous:
    """The last solution with synchronous moves: `autotm-async` begins with what `autotm-sync` found for the same step."""

    def __init__(self) -> None:
        self._tensors: Tensors | None = None
        self._chosen = np.zeros(0, bool)

    def choose(self, tensors: Tensors, *, name: str) -> NDArray[np.bool_]:
        """Return the periods spent on flash in the least time of moves."""
        last = self._tensors
        if last is None or last.timeline is not tensors.timeline or last.machine is not tensors.machine:
            self._chosen, self._tensors = _choose_synchronous(tensors, name=name), tensors
        return self._chosen


_synchronous = _Synchronous()


def _choose_synchronous(tensors: Tensors, *, name: str) -> NDArray[np.bool_]:
    machine, compute_s, page = tensors.machine, tensors.timeline.compute_s, tensors.timeline.page_bytes
    programme = Programme()
    placement = add_placement(
        programme,
        tensors,
        read_cost=page / machine.read_bytes_per_s / compute_s,
        write_cost=page / machine.write_bytes_per_s / compute_s,
    )
    return solve_placement(programme, placement.moved, name=name)[placement.moved] > 0.5


class _Asynchronous:
    """The programme with moves beside kernels, in times of the computation."""

    def __init__(self, tensors: Tensors, *, chosen: NDArray[np.bool_] | None = None) -> None:
        self.rows = Programme()
        self.placement = add_placement(self.rows, tensors, chosen=chosen)
        self._tensors = tensors
        lasts = tensors.timeline.slices.duration_s / tensors.timeline.compute_s
        kernels = self.rows.add_columns(
            "kernels", tensors.num_slices, lower=lasts, upper=lasts + _all_moves(tensors), cost=1.0
        )
        self._inward = _add_moves(self.rows, self.placement, tensors, kernels)

    def begin(self, x: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the slice at which the fetch of each period begins."""
        fetch, moves = self._tensors.periods.end.copy(), self._inward
        begun = x[moves.columns] > A_PART
        np.minimum.at(fetch, moves.period[begun], moves.at[begun])
        return fetch


def _all_moves(tensors: Tensors) -> float:
    """Return how long all moves together take, one after the other, in times of the computation."""
    machine, timeline = tensors.machine, tensors.timeline
    bytes_moved = float(tensors.periods.pages.sum()) * timeline.page_bytes
    seconds = bytes_moved * (1 / machine.read_bytes_per_s + 1 / machine.write_bytes_per_s)
    return seconds * max(1.0, machine.write_bytes_per_s / machine.shared_bytes_per_s) / timeline.compute_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    """Asynchronous moves of one direction: one row per period and offset."""

    at: NDArray[np.int64]
    """The node beside which it runs, counted like those of its period."""
    period: NDArray[np.int64]
    columns: NDArray[np.int64]
    """Of the programme: the part of the tensor that moves then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _MoveLane:
    """One direction of the link."""

    name: str
    before_use: bool
    """Moves are offered before the use that ends the period; else after the one that begins it."""
    among: NDArray[np.bool_]
    """Periods that need it, shape (periods,)."""
    whole: NDArray[np.int64]
    """Columns of what has to move, shape (periods,)."""
    bytes_per_s: float


def _add_moves(
    programme: Programme, placement: TensorPlacement, tensors: Tensors, kernels: NDArray[np.int64]
) -> _Moves:
    """Add the moves of both directions, what they do to kernels, and what of them is synchronous; return those in."""
    periods, machine = tensors.periods, tensors.machine
    shared = programme.add_rows("both ways", tensors.num_slices, lower=0.0, upper=np.inf)
    programme.put(shared, kernels, 1.0)
    inward = _MoveLane(
        name="in",
        before_use=True,
        among=np.ones(len(periods), bool),
        whole=placement.moved,
        bytes_per_s=machine.read_bytes_per_s,
    )
    outward = _MoveLane(
        name="out",
        before_use=False,
        among=periods.is_dirty,
        whole=placement.written,
        bytes_per_s=machine.write_bytes_per_s,
    )
    moves = _add_lane(programme, tensors, inward, kernels=kernels, shared=shared)
    _add_lane(programme, tensors, outward, kernels=kernels, shared=shared)
    return_at(programme, placement, tensors, columns=moves.columns, period=moves.period, at=moves.at)
    return moves


def _add_lane(
    programme: Programme,
    tensors: Tensors,
    lane: _MoveLane,
    *,
    kernels: NDArray[np.int64],
    shared: NDArray[np.int64],
) -> _Moves:
    periods, T, timeline, machine = tensors.periods, tensors.num_slices, tensors.timeline, tensors.machine
    at, period = _offers(tensors, before_use=lane.before_use, among=lane.among)
    seconds = periods.pages * timeline.page_bytes / lane.bytes_per_s / timeline.compute_s
    columns = programme.add_columns(f"asynchronous {lane.name}", len(at), upper=1.0)
    rest = programme.add_columns(f"synchronous {lane.name}", len(periods), upper=1.0, cost=seconds)
    # [Parts]: what moves asynchronously and the rest, which stops the step, are the whole.
    parts = programme.add_rows(f"parts {lane.name}", len(periods), lower=0.0, upper=0.0)
    programme.put(parts, lane.whole, -1.0)
    programme.put(parts, rest, 1.0)
    programme.put(parts[period], columns, 1.0)
    # [Beside]: a kernel lasts at least as long as what moves beside it, in each direction and over the shared channel.
    beside = programme.add_rows(f"beside {lane.name}", T, lower=0.0, upper=np.inf)
    programme.put(beside, kernels, 1.0)
    programme.put(beside[at % T], columns, -seconds[period])
    together = seconds * lane.bytes_per_s / machine.shared_bytes_per_s
    programme.put(shared[at % T], columns, -together[period])
    return _Moves(at=at, period=period, columns=columns)


def _offers(
    tensors: Tensors, *, before_use: bool, among: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the node and the period of each move that is offered."""
    periods = tensors.periods
    at: list[NDArray[np.int64]] = []
    period: list[NDArray[np.int64]] = []
    for offset in OFFSETS:
        node = periods.end - offset if before_use else periods.start + offset
        inside = np.flatnonzero((node > periods.start) & (node < periods.end) & among)
        at.append(node[inside])
        period.append(inside)
    return np.concatenate(at), np.concatenate(period)
