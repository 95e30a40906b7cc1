"""On-demand paging as hardware does it: LRU over pages of an address space, without knowledge of tensors.

Source: unified virtual memory (NVIDIA UVM) and operating-system paging, as modelled by DeepUM (ASPLOS'23) and G10
(MICRO'23) for their baselines: a fault brings pages in, the least recently used pages leave, written if dirty. The pager
does not know that freed memory is dead: it writes it out and, when the allocator hands the addresses out again, faults
the stale bytes in before they are overwritten. Faults cost `tmtrain.machine.Paging` per batch of pages: in our machines 45
us per 50 pages of 4 KiB, as in G10's artifact, which allows 4.6 GB/s at most.

In the rival's favour: the framework's caching allocator is modelled at its best (best fit, with splitting and merging), so
that freed pages that are still in memory are reused first; and the granularity is one page, evicted exactly as needed.
"""

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.policies.policy import Decision, Knowledge, Policy
from tmtrain.policies.shared.address_space import by_address


class HardwarePaging(Policy):
    """Hardware demand paging with LRU."""

    name = "paging"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage the step's addresses by recency."""
        del machine
        return Decision(
            timeline=by_address(timeline), knowledge=Knowledge.NEVER, pager=LruPager(), faults=True
        )
