"""The ledger of the example plan, for docstrings and tests."""

from tmtrain.exports.ledger import Ledger, open_ledger
from tmtrain.machine import load_machine
from tmtrain.planning.example import example_plan, example_timeline
from tmtrain.trace import example_trace


def example_ledger() -> Ledger:
    """Return what `example_plan()` does with the storages of `example_trace()`.

    >>> example_ledger().storages
    10
    """
    return open_ledger(
        example_plan(), trace=example_trace(), timeline=example_timeline(), machine=load_machine("v4-slc")
    )
