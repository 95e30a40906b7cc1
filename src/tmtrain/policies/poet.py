"""POET: an integer programme for energy pages whole tensors out, or makes them again.

Source: S. Patil et al., "POET: training neural networks on tiny devices with integrated rematerialization and paging", ICML
2022, section 4.

Inputs: the operators in order with their joules, the joules of a page in and out, sizes and uses of tensors.

Rule: minimise the joules of recomputation, paging in and paging out, subject to the memory at each operator. A tensor that
is inactive is kept, paged, or dropped and made again by its operator right before its next use; what that operator reads
has to be there then.

Simplified: a tensor is made again once per period, at its end. The published programme has a variable per operator and
moment, so that a tensor may be made earlier, or by way of tensors that are dead by then, and is solved on graphs of some
hundred operators. The time of the step has no limit. In the rival's favour: seconds of transfers and of recomputation are
charged with the power that the machine draws anyway, transfers run beside computation, and what is paged is prefetched as
early as there is room. The solver gets a minute; where it finds nothing, the policy refuses the step.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower import insert_replays
from tmtrain.lower.energy import power_w, work_energy_j
from tmtrain.lower.replay import Replays, places_of_slices
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.problem import slice_of_access
from tmtrain.plan.programme import Programme
from tmtrain.policies.advice import advise, fetch_where_it_fits
from tmtrain.policies.placement import Placement, add_placement, leave_in, solve_placement
from tmtrain.policies.policy import Decision, Policy
from tmtrain.policies.tensors import Tensors, find_tensors
from tmtrain.trace import Phase


class Poet(Policy):
    """POET on one step."""

    name = "poet"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Solve for the least energy, put the replays into the step, and prefetch what is paged."""
        tensors = find_tensors(timeline, machine=machine)
        page, watts = timeline.page_bytes, power_w(machine, fast_bytes=timeline.fast_bytes)
        programme = Programme()
        placement = add_placement(
            programme,
            tensors,
            read_cost=page * (machine.read_j_per_byte + watts / machine.read_bytes_per_s),
            write_cost=page * (machine.write_j_per_byte + watts / machine.write_bytes_per_s),
        )
        remakes = _find_remakes(tensors)
        columns = _add_remakes(programme, placement, tensors, remakes, watts=watts)
        x = solve_placement(programme, np.concatenate([placement.moved, columns]), name=self.name)
        made = [remake for remake, column in zip(remakes, columns.tolist(), strict=True) if x[column] > 0.5]
        return _carry_out(tensors, x[placement.moved] > 0.5, made, name=self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Remake:
    """A recipe that can run again before a slice."""

    recipe: int
    before: int
    makes: tuple[int, ...]
    """Periods of its results that end there."""
    needs: tuple[int, ...]
    """Periods of its inputs that last longer: they must not be spent away."""


def _find_remakes(tensors: Tensors) -> list[_Remake]:
    """Return which recipes can make which results again at the end of an inactive period in backward."""
    periods, T = tensors.periods, tensors.num_slices
    kitchen = _Kitchen(tensors)
    found: dict[tuple[int, int], _Remake] = {}
    in_backward = (periods.end < T) & (tensors.timeline.slices.phase[periods.end % T] == Phase.BACKWARD)
    for p in np.flatnonzero(in_backward).tolist():
        recipe, before = kitchen.maker.get(int(periods.storage[p]), -1), int(periods.end[p])
        if recipe >= 0 and (recipe, before) not in found:
            remake = kitchen.remake(recipe, before)
            if remake is not None:
                found[recipe, before] = remake
    return sorted(found.values(), key=lambda remake: (remake.before, remake.recipe))


class _Kitchen:
    """Recipes, and which storages are there when one is to run again."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._recipes = tensors.timeline.recipes
        self._contents = _Contents(tensors.timeline)
        self._periods_of: dict[int, list[int]] = {}
        for p, storage in enumerate(tensors.periods.storage.tolist()):
            self._periods_of.setdefault(storage, []).append(p)
        self.maker = {
            storage: recipe
            for recipe in range(len(self._recipes))
            for storage in self._touched(recipe, writes=True)
        }
        """The recipe of each storage that has one."""

    def remake(self, recipe: int, before: int) -> _Remake | None:
        """Return what running `recipe` before that slice means; None where inputs are gone or results are still in use."""
        if self._recipes.valid_until_op[recipe] <= self._tensors.timeline.slices.op[before]:
            return None
        results = self._touched(recipe, writes=True)
        inputs = self._touched(recipe, writes=False) - results
        if not all(self._contents.are_whole(storage, before) for storage in inputs):
            return None
        periods = self._tensors.periods
        makes = [p for storage in results for p in self._periods_at(storage, before, ends=True)]
        alive = sum(self._contents.pages_at(storage, before) for storage in results)
        if sum(int(periods.pages[p]) for p in makes) != alive:
            return None
        whole = {int(periods.storage[p]) for p in makes}
        if not all(self._contents.are_whole(storage, before) for storage in whole):
            return None
        needs = [p for storage in inputs for p in self._periods_at(storage, before, ends=False)]
        return _Remake(recipe=recipe, before=before, makes=tuple(makes), needs=tuple(needs))

    def _periods_at(self, storage: int, t: int, *, ends: bool) -> list[int]:
        """Return the periods of a storage that end at slice t, or those that it lies inside of."""
        periods, T = self._tensors.periods, self._tensors.num_slices
        mine = self._periods_of.get(storage, [])
        if ends:
            return [p for p in mine if periods.end[p] == t]
        return [p for p in mine if any(periods.start[p] < u < periods.end[p] for u in (t, t + T))]

    def _touched(self, recipe: int, *, writes: bool) -> set[int]:
        """Return the storages that a recipe makes, or reads."""
        recipes = self._recipes
        first, end = recipes.op_ptr[recipe], recipes.op_ptr[recipe + 1]
        rows = slice(int(recipes.touch_ptr[first]), int(recipes.touch_ptr[end]))
        flags = recipes.touch_writes[rows] if writes else recipes.touch_reads[rows]
        return set(recipes.touch_storage[rows][flags].tolist())


class _Contents:
    """Which storages hold content that is used again, at any slice."""

    def __init__(self, timeline: Timeline) -> None:
        self._num_slices = len(timeline.slices)
        self._pages: list[int] = timeline.extents.pages.tolist()
        self._uses: list[list[tuple[int, int]]] = [[] for _ in self._pages]
        access = timeline.accesses
        for extent, t, following in zip(
            access.extent.tolist(),
            slice_of_access(timeline).tolist(),
            access.next_slice.tolist(),
            strict=True,
        ):
            self._uses[extent].append((t, following))
        self._extents: dict[int, list[int]] = {}
        for extent, storage in enumerate(timeline.extents.storage.tolist()):
            if self._uses[extent]:
                self._extents.setdefault(storage, []).append(extent)

    def pages_at(self, storage: int, t: int) -> int:
        """Return how many pages of `storage` hold content that was there before slice t and is used in it or later."""
        return sum(self._pages[e] for e in self._extents.get(storage, []) if self._is_alive(e, t))

    def are_whole(self, storage: int, t: int) -> bool:
        """Return whether all of its pages do."""
        extents = self._extents.get(storage, [])
        return bool(extents) and all(self._is_alive(e, t) for e in extents)

    def _is_alive(self, extent: int, t: int) -> bool:
        uses, T = self._uses[extent], self._num_slices
        before = bisect_left(uses, (t, -1)) - 1
        at, following = uses[before]
        if following < 0:
            return False
        lasts = following if following > at else following + T
        return lasts >= (t if before >= 0 else t + T)


def _add_remakes(
    programme: Programme, placement: Placement, tensors: Tensors, remakes: list[_Remake], *, watts: float
) -> NDArray[np.int64]:
    """Add a column per remake: its results are away meanwhile, at the joules of its recipe, if its inputs stay."""
    count = len(tensors.periods)
    columns = programme.add_columns(
        "remade", len(remakes), upper=1.0, cost=_joules(tensors, remakes, watts=watts)
    )
    away = programme.add_columns("away", count, upper=1.0)
    remake, made = _pairs([remake.makes for remake in remakes])
    leave_in(programme, placement, tensors, columns=columns[remake], period=made)
    # [Fates]: a tensor that is away is moved or made again.
    fates = programme.add_rows("fates", count, lower=0.0, upper=0.0)
    programme.put(fates, away, -1.0)
    programme.put(fates, placement.moved, 1.0)
    programme.put(fates[made], columns[remake], 1.0)
    # [Inputs]: what a remake reads is there.
    remake, needed = _pairs([remake.needs for remake in remakes])
    inputs = programme.add_rows("inputs", len(needed), lower=-np.inf, upper=1.0)
    programme.put(inputs, columns[remake], 1.0)
    programme.put(inputs, away[needed], 1.0)
    return columns


def _joules(tensors: Tensors, remakes: list[_Remake], *, watts: float) -> NDArray[np.float64]:
    """Return what each remake costs, the power drawn meanwhile included."""
    slices, recipes = tensors.timeline.slices, tensors.timeline.recipes
    of_slice = work_energy_j(slices, machine=tensors.machine) + watts * slices.duration_s
    of_operator = np.bincount(slices.op, weights=of_slice)
    ranges = [slice(recipes.op_ptr[r.recipe], recipes.op_ptr[r.recipe + 1]) for r in remakes]
    return np.array([of_operator[recipes.op[ops]].sum() for ops in ranges], np.float64)


def _pairs(lists: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the list, and the item, for each item of all lists."""
    number = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return number.astype(np.int64), np.array([item for items in lists for item in items], np.int64)


def _carry_out(tensors: Tensors, moved: NDArray[np.bool_], made: list[_Remake], *, name: str) -> Decision:
    """Put the replays into the step and find the periods that are spent on flash again in it."""
    timeline, machine = tensors.timeline, tensors.machine
    rows = timeline.recipes.rows[[remake.recipe for remake in made]]
    replays = Replays(
        recipe=np.array([remake.recipe for remake in made], np.int32),
        before_slice=np.array([remake.before for remake in made], np.int32),
        first_row=np.zeros(len(made), np.int64),
        end_row=rows,
        rows=rows,
    )
    longer = find_tensors(insert_replays(timeline, replays, machine=machine), machine=machine)
    place = places_of_slices(longer.timeline, of=timeline)
    gaps = tensors.problem.gaps.of(moved[tensors.period_of_gap])
    wanted = set(zip(*_where(timeline, gaps.extent), place[gaps.start].tolist(), strict=True))
    there = longer.problem.gaps
    keys = zip(*_where(longer.timeline, there.extent), there.start.tolist(), strict=True)
    chosen = np.zeros(len(longer.periods), bool)
    chosen[longer.period_of_gap[np.array([key in wanted for key in keys], bool)]] = True
    end = longer.periods.end
    fetch = fetch_where_it_fits(longer, chosen, latest=end, earliest=longer.periods.start + 1)
    return advise(longer, chosen, fetch=fetch, name=name, replays=replays, ideal_s=timeline.compute_s)


def _where(timeline: Timeline, extent: NDArray[np.int32]) -> tuple[list[int], list[int]]:
    """Return what an extent is called in every version of the step: its storage and first page."""
    return timeline.extents.storage[extent].tolist(), timeline.extents.first_page[extent].tolist()
