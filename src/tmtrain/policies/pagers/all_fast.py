"""The ideal: fast memory for the whole footprint, no second tier."""

from dataclasses import replace

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import framework_peak_pages
from tmtrain.policies.pagers.lru import LruPager


class AllFast(Policy):
    """As much fast memory as the framework ever holds at once (rounded to pages per storage); nothing moves."""

    name = "all-fast"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Give the step all the memory it asks for."""
        del machine
        enough = replace(timeline, fast_bytes=framework_peak_pages(timeline) * timeline.page_bytes)
        return Decision(timeline=enough, knowledge=Knowledge.FREED, pager=LruPager(), has_flash=False)
