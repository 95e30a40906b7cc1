"""POET: an integer programme for energy pages whole tensors out, or recomputes them.

Source: S. Patil et al., "POET: training neural networks on tiny devices with integrated rematerialization and paging", ICML
2022, section 4.

Inputs: the operators in order with their joules, the joules of a page in and out, sizes and uses of tensors.

Rule: minimise the joules of recomputation, paging in and paging out, subject to the memory at each operator. A tensor that
is inactive is kept, paged, or discarded and recomputed by its operator right before its next use. What that operator
reads has to be there then.

Simplified: a tensor is recomputed once per period, at its end. The published programme has a variable per operator and
time step, so that a tensor may be recomputed earlier, or by way of tensors that are dead by then. It is solved on graphs of
some hundred operators. The time of the step has no limit.

In the rival's favour: seconds of transfers and of recomputation are charged with the power that the machine draws anyway,
transfers run beside computation, and what is paged is prefetched as early as there is room. The solver gets a minute; where
it finds nothing, the policy refuses the step.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.energy import power_w, work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.placement import TensorPlacement, add_placement, leave_in, solve_placement
from tmtrain.policies.shared.tensor_recomputation import (
    TensorRecomputation,
    find_recomputations,
    recompute_tensors,
    sum_over_producers,
)
from tmtrain.policies.shared.tensors import Tensors, find_tensors


class Poet(Policy):
    """POET on one step."""

    name = "poet"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Solve for the least energy, put the recomputations into the step, and prefetch what is paged."""
        tensors = find_tensors(timeline, machine=machine)
        moved, recomputations = _choose(tensors, name=self.name)
        recomputed_step = recompute_tensors(tensors, moved[tensors.period_of_gap], recomputations)
        step = recomputed_step.tensors
        # A period of the longer step is moved if any of its gaps was: recomputations cut periods in two.
        moved_gaps = np.bincount(
            step.period_of_gap, weights=recomputed_step.moved, minlength=len(step.periods)
        )
        chosen = moved_gaps > 0
        end, start = step.periods.end, step.periods.start
        return advise(
            step,
            chosen,
            fetch=fetch_where_it_fits(step, chosen, latest=end, earliest=start + 1),
            name=self.name,
            recomputations=recomputed_step.recomputations,
            ideal_s=timeline.compute_s,
        )


def _choose(tensors: Tensors, *, name: str) -> tuple[NDArray[np.bool_], list[TensorRecomputation]]:
    """Return the periods that are paged, and the recomputations, of least energy."""
    timeline, machine = tensors.timeline, tensors.machine
    page, watts = timeline.page_bytes, power_w(machine, fast_bytes=timeline.fast_bytes)
    programme = Programme()
    placement = add_placement(
        programme,
        tensors,
        read_cost=page * (machine.read_j_per_byte + watts / machine.read_bytes_per_s),
        write_cost=page * (machine.write_j_per_byte + watts / machine.write_bytes_per_s),
    )
    recomputations = find_recomputations(tensors)
    columns = _add_recomputations(programme, placement, tensors, recomputations, watts=watts)
    x = solve_placement(programme, np.concatenate([placement.moved, columns]), name=name)
    chosen = [each for each, column in zip(recomputations, columns.tolist(), strict=True) if x[column] > 0.5]
    return x[placement.moved] > 0.5, chosen


def _add_recomputations(
    programme: Programme,
    placement: TensorPlacement,
    tensors: Tensors,
    recomputations: list[TensorRecomputation],
    *,
    watts: float,
) -> NDArray[np.int64]:
    """Add a column per recomputation: its results are away meanwhile, at the joules of its producer, if its inputs stay."""
    count, slices = len(tensors.periods), tensors.timeline.slices
    joules = work_energy_j(slices, machine=tensors.machine) + watts * slices.duration_s
    columns = programme.add_columns(
        "recomputed",
        len(recomputations),
        upper=1.0,
        cost=sum_over_producers(joules, recomputations, tensors.timeline),
    )
    away = programme.add_columns("away", count, upper=1.0)
    number, result = _pairs([each.makes for each in recomputations])
    leave_in(programme, placement, tensors, columns=columns[number], period=result)
    # [Fates]: a tensor that is away is moved or recomputed.
    fates = programme.add_rows("fates", count, lower=0.0, upper=0.0)
    programme.put(fates, away, -1.0)
    programme.put(fates, placement.moved, 1.0)
    programme.put(fates[result], columns[number], 1.0)
    # [Inputs]: what a recomputation reads is there.
    number, needed = _pairs([each.needs for each in recomputations])
    inputs = programme.add_rows("inputs", len(needed), lower=-np.inf, upper=1.0)
    programme.put(inputs, columns[number], 1.0)
    programme.put(inputs, away[needed], 1.0)
    return columns


def _pairs(lists: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the list, and the item, for each item of all lists."""
    number = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return number.astype(np.int64), np.array([item for items in lists for item in items], np.int64)
