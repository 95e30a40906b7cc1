"""Saved activations leave when forward has passed their layer and come back a layer ahead of backward.

Source: TierTrain (ISMM 2025), after its public daemon: when forward reaches layer l + 1 the activations saved in layer l
are moved to slow memory; when backward is at layer l those of layer l - 1 are fetched; the last layer's stay. Nothing else
moves, however much room there is or is not.

Inputs: the layers (`tmtrain.policies.shared.layers`), and which tensors are saved.

Granularity: extents. In its favour: where parameters and optimizer state do not fit beside the activations, on demand what
is used furthest in the future goes; what dies leaves for free.
"""

import numpy as np

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.layers import layer_of_slice
from tmtrain.policies.shared.schedules import FetchSchedule, ScheduledPager, empty_schedule
from tmtrain.trace import Phase


class TierTrain(Policy):
    """Offload saved activations, one layer behind and one ahead."""

    name = "tiertrain"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Schedule the saved activations."""
        del machine
        pager = ScheduledPager(timeline, schedule=tiertrain_schedule(timeline))
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=pager)


def tiertrain_schedule(timeline: Timeline) -> FetchSchedule:
    """Return what moves when: whatever is born in the step, last used in forward or loss, and read in backward next."""
    access, at, layer = timeline.accesses, slice_of_access(timeline), layer_of_slice(timeline)
    begins = np.searchsorted(layer, np.arange(layer[-1] + 2))
    is_forward = np.isin(timeline.slices.phase, (Phase.FORWARD, Phase.LOSS))
    saved = (access.next_slice > at) & is_forward[at] & ~is_forward[access.next_slice]
    saved &= ~timeline.extents.persistent[access.extent]
    schedule = empty_schedule(len(layer))
    for row in np.flatnonzero(saved).tolist():
        extent, back = int(access.extent[row]), int(access.next_slice[row])
        passed = int(begins[layer[at[row]] + 1]) - 1
        start = int(begins[layer[back] - 1])
        if start > passed:
            schedule.leave[passed].append(extent)
            schedule.ahead[start].append((extent, back - start))
    return schedule
