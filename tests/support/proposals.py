"""The plan that the planner proposes first: for tests of the planner, which ask neither the engine nor any rival."""

from typing import Any

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import propose
from tmtrain.plans import Plan


def proposed(timeline: Timeline, *, machine: Machine, **options: Any) -> Plan:
    """Return the first proposal for a step; `options` are those of `tmtrain.planning.propose`."""
    return next(propose(timeline, machine=machine, **options))
