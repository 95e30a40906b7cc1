"""SSDTrain (TBA): offload activations to the SSD as long as it keeps up, keep the last ones.

Source: K. Wu et al., "SSDTrain: an activation offloading framework to SSDs for faster large language model training", DAC
2025 (arXiv 2408.10013); the rule as in K-Wu/FlashTrain at 668f553.

Inputs: a profile of one or two steps: bytes saved by each module and its time in forward. A module is an operator here.

Rule: modules in order of forward. With V the bytes saved by earlier modules plus twice those of this one, and T three times
the time of forward minus twice that of the earlier modules, the first module with V / T above the write bandwidth and all
later ones keep their activations. All others are written after their last use in forward, and prefetched in backward a
number of modules ahead; that number is searched.

Simplified: weights, gradients and optimizer state are not SSDTrain's business and stay; what does not fit, where it runs
out of memory, is paged by Belady's rule. In the rival's favour: flash has one copy of storages that several modules save,
and what is read again before it has been written was never away (its "forwarding").
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.shared.advice import advise, fetch_ahead
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.trace import Phase

WINDOWS = (1, 4, 16, 64)
"""Operators ahead that are tried."""


class SsdTrain(Policy):
    """SSDTrain with its adaptive choice of what to keep."""

    name = "ssdtrain"

    def __init__(self, *, window: int = 4) -> None:
        self._window = window

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose by the keep rule, prefetch by the window."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _offloaded(tensors)
        fetch = fetch_ahead(tensors, chosen, operators=self._window)
        return advise(tensors, chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """Prefetch windows."""
        return tuple(SsdTrain(window=window) for window in WINDOWS)


def _offloaded(tensors: Tensors) -> NDArray[np.bool_]:
    """Return the saved activations of the modules before the first one at which the SSD would fall behind."""
    timeline, periods, clock = tensors.timeline, tensors.periods, tensors.clock_s()
    saved = tensors.saved_activations()
    forward = np.flatnonzero(np.isin(timeline.slices.phase, (Phase.FORWARD, Phase.LOSS)))
    if not len(forward):
        return saved
    modules, number = np.unique(timeline.slices.op[periods.start[saved]], return_inverse=True)
    own = np.bincount(number, weights=periods.pages[saved], minlength=len(modules)) * timeline.page_bytes
    written = np.cumsum(own) + own
    begin = clock[np.searchsorted(timeline.slices.op, modules)] - clock[forward[0]]
    seconds = 3 * float(timeline.slices.duration_s[forward].sum()) - 2 * begin
    behind = np.flatnonzero(written > seconds * tensors.machine.write_bytes_per_s)
    first_kept = modules[behind[0]] if len(behind) else np.iinfo(np.int32).max
    return saved & (timeline.slices.op[periods.start] < first_kept)
