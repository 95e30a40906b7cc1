"""ZeRO-Infinity: whole classes of tensors live on NVMe, a window of operators is prefetched.

Source: S. Rajbhandari et al., "ZeRO-Infinity: breaking the GPU memory wall for extreme scale deep learning", SC 2021 (arXiv
2104.07857), sections 5 and 6; code deepspeedai/DeepSpeed at edaa722.

Inputs: the roles of tensors, and the sequence of operators, which its prefetcher traces.

Rule: classes are offloaded whole: optimizer state and gradients, then parameters, and the activations saved for backward
(checkpoints); of the combinations that make the rest fit the one that moves fewest bytes, or all of them. A tensor of an
offloaded class leaves after each use, unless it is used again within the window, and is fetched so many operators ahead;
the paper looks three ahead, here the window is searched. The optimizer streams through fast memory, as its slices do.

Simplified: one device, so nothing is partitioned or gathered, and no CPU memory between NVMe and device. In the rival's
favour: clean parameters are not written back; what does not fit with all classes offloaded is paged by Belady's rule.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.shared.advice import advise, fetch_ahead
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.trace import Role

WINDOWS = (1, 3, 10, 30)
"""Operators ahead that are tried."""


class ZeroInfinity(Policy):
    """ZeRO-Infinity on one device with NVMe."""

    name = "zero-infinity"

    def __init__(self, *, window: int = 3) -> None:
        self._window = window

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Offload classes so that the rest fits."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _offloaded(tensors) & _outlasts(tensors, self._window)
        fetch = fetch_ahead(tensors, chosen, operators=self._window)
        return advise(tensors, chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """Prefetch windows."""
        return tuple(ZeroInfinity(window=window) for window in WINDOWS)


def _offloaded(tensors: Tensors) -> NDArray[np.bool_]:
    role = tensors.periods.role
    state = np.isin(role, (Role.OPTIMIZER_STATE, Role.GRADIENT))
    parameters = role == Role.PARAMETER
    activations = tensors.saved_activations()
    everything = state | parameters | activations
    choices = (
        np.zeros(len(role), bool),
        state,
        state | parameters,
        activations,
        state | activations,
        everything,
    )
    fitting = [chosen for chosen in choices if (tensors.room(chosen) >= 0).all()]
    return min(fitting, key=lambda chosen: int(tensors.moved_pages(chosen).sum()), default=everything)


def _outlasts(tensors: Tensors, window: int) -> NDArray[np.bool_]:
    """Return the periods during which more operators than the window begin."""
    op = tensors.timeline.slices.op
    begun = np.cumsum(np.tile(np.concatenate([[True], op[1:] != op[:-1]]), 2))
    return begun[tensors.periods.end] - begun[tensors.periods.start] > window
