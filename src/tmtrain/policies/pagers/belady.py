"""Belady's MIN on pages: evict what is used again furthest in the future.

Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 5(2), 1966.
Clairvoyant, on demand, cyclic: the future runs on into the next step. Dead content leaves first and for free. MIN is
optimal for the number of misses; it does not know that a dirty page costs a write (see `tmtrain.planning`).
"""

from tmtrain.deciding.eviction import BeladyPager
from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine


class Belady(Policy):
    """Belady's MIN over pages."""

    name = "belady"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage `timeline` by its future."""
        del machine
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=BeladyPager(timeline))
