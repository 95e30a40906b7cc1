"""A step for docstrings."""

from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine
from tmtrain.trace import example_trace


def example_step() -> Timeline:
    """Return the hand-written example trace on the default machine with five pages of fast memory.

    >>> len(example_step().slices)
    9
    """
    return lower(example_trace(), machine=load_machine("v4-slc"), fast_bytes=5 * 4096)
