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

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.energy import power_w, work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.policy import Decision, Policy
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.placement import TensorPlacement, add_placement, leave_in, solve_placement
from tmtrain.policies.shared.recomputable import Remake, carry_out, find_remakes, sum_over_recipes
from tmtrain.policies.shared.tensors import Tensors, find_tensors


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
        remakes = find_remakes(tensors)
        columns = _add_remakes(programme, placement, tensors, remakes, watts=watts)
        x = solve_placement(programme, np.concatenate([placement.moved, columns]), name=self.name)
        made = [remake for remake, column in zip(remakes, columns.tolist(), strict=True) if x[column] > 0.5]
        moved = x[placement.moved] > 0.5
        remade = carry_out(tensors, moved[tensors.period_of_gap], made)
        longer = remade.tensors
        chosen = np.bincount(longer.period_of_gap, weights=remade.moved, minlength=len(longer.periods)) > 0
        end, start = longer.periods.end, longer.periods.start
        fetch = fetch_where_it_fits(longer, chosen, latest=end, earliest=start + 1)
        return advise(
            longer, chosen, fetch=fetch, name=self.name, replays=remade.replays, ideal_s=timeline.compute_s
        )


def _add_remakes(
    programme: Programme, placement: TensorPlacement, tensors: Tensors, remakes: list[Remake], *, watts: float
) -> NDArray[np.int64]:
    """Add a column per remake: its results are away meanwhile, at the joules of its recipe, if its inputs stay."""
    count, slices = len(tensors.periods), tensors.timeline.slices
    joules = work_energy_j(slices, machine=tensors.machine) + watts * slices.duration_s
    columns = programme.add_columns(
        "remade", len(remakes), upper=1.0, cost=sum_over_recipes(joules, remakes, tensors.timeline)
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


def _pairs(lists: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the list, and the item, for each item of all lists."""
    number = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return number.astype(np.int64), np.array([item for items in lists for item in items], np.int64)
