"""A plan of the hand-written example trace, for docstrings and tests."""

from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import load_machine
from tmtrain.planning.planner import propose
from tmtrain.plans.plan import Plan
from tmtrain.trace import example_trace


def example_timeline() -> Timeline:
    """Return `example_trace()` on the default machine with a little less fast memory than it needs.

    >>> example_timeline().fast_pages
    5
    """
    return lower(example_trace(), machine=load_machine("v4-slc"), fast_bytes=5 * 4096)


def example_plan() -> Plan:
    """Return the plan of `example_timeline()` for least energy.

    >>> example_plan().objective
    'energy'
    """
    return next(propose(example_timeline(), machine=load_machine("v4-slc")))
