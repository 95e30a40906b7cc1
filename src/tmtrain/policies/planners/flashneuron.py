"""FlashNeuron: offload activations in order of execution until the rest fits, prefetch eagerly in backward.

Source: J. Bae et al., "FlashNeuron: SSD-enabled large-batch training of very deep neural networks", FAST 2021, sections 4.1
to 4.3; code SNU-ARC/flashneuron at a5b578f.

Inputs: the profile of one iteration: sizes, first and last uses in forward and backward. Weights and optimizer state stay.

Rule: phase 1 selects the activations saved for backward, in order of execution from the first on, until the unselected
ones, weights and workspace fit. Phase 2 would swap selected tensors for more compressible ones where their offload takes
longer than forward; without compression there are none, and phase 1 stands. Each selected tensor is offloaded right after
its last use in forward. In backward those needed soonest are prefetched eagerly, as soon as there is room for all of one.

Simplified: no compression, as the engine moves bytes as they are. In the rival's favour: where weights and state do not fit
either, FlashNeuron runs out of memory; here Belady's rule pages them. The room is what placement leaves in each slice, not
a reserve for the largest layer.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.trace import Phase


class FlashNeuron(Policy):
    """FlashNeuron without compression."""

    name = "flashneuron"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Select activations and prefetch them in backward."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _select(tensors)
        backward = np.flatnonzero(timeline.slices.phase == Phase.BACKWARD)
        earliest = np.full(len(chosen), backward[0] if len(backward) else 0, np.int64)
        end = tensors.periods.end
        fetch = fetch_where_it_fits(tensors, chosen, latest=end, earliest=np.minimum(earliest, end))
        return advise(tensors, chosen, fetch=fetch, name=self.name)


def _select(tensors: Tensors) -> NDArray[np.bool_]:
    """Return the fewest activations, from the first on, without which the step fits as far as all of them can help."""
    saved = tensors.saved_activations()
    enough = np.minimum(tensors.room(saved), 0)
    order = np.flatnonzero(saved)
    order = order[np.argsort(tensors.periods.start[order], kind="stable")]
    rank = np.full(len(saved), len(saved))
    rank[order] = np.arange(len(order))
    # The more leave the more room there is, so bisect.
    fewest = bisect_left(
        range(len(order)), True, key=lambda count: bool((tensors.room(rank < count) >= enough).all())
    )
    return rank < fewest
