"""Everything in flash: fast memory is a stage between the layers and flash.

Source: Behemoth (Kim et al., FAST 2021), of which only the abstract and others' descriptions were at hand: an accelerator
whose tensors all live in flash; a layer's inputs are streamed in, its outputs out, in the order of the layers, and nothing
is kept beyond. So: what a layer needs is fetched while the layer before runs, and leaves (written if it has changed) after
its last use in the layer. Its flash (SLC mode, relaxed retention, streaming translation) is the machine's affair here.

Inputs: the order of layers (`tmtrain.policies.shared.layers`). Granularity: extents. In its favour: what dies within a
layer is never written, what the next layer needs too stays, and where room is short the furthest next use goes.
"""

import numpy as np

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.shared.layers import interval_schedule, layer_of_slice
from tmtrain.policies.shared.schedules import ScheduledPager


class Behemoth(Policy):
    """Stream everything, layer by layer."""

    name = "behemoth"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Schedule a fetch and a departure around each layer that uses an extent."""
        del machine
        nothing = np.zeros(len(timeline.extents), bool)
        schedule = interval_schedule(timeline, layer_of_slice(timeline), stays=nothing)
        return Decision(
            timeline=timeline,
            knowledge=Knowledge.LAST_USE,
            pager=ScheduledPager(timeline, schedule=schedule),
        )
