"""One setting to compare policies in: a step on a machine with a capacity, and what no policy can beat there."""

import time
from dataclasses import dataclass

from tmtrain.evaluate.row import Bounds
from tmtrain.lower import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.plan import bound_of
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that the policies of one comparison share."""

    trace: Trace
    machine: Machine
    timeline: Timeline
    objective: str
    bound: float
    """Of the objective."""
    bounds: Bounds
    capture_s: float
    """Wall-clock seconds of the stages."""
    lower_s: float


def make_setting(
    trace: Trace, *, machine: Machine, fast: FastCapacity, objective: str, capture_s: float = 0.0
) -> Setting:
    """Lower `trace` onto `machine` with so much fast memory and bound every objective.

    Raises:
        InputError: unknown objective.
        InfeasibleError: an operator does not fit into the fast tier, however it is cut.
    """
    begin = time.perf_counter()
    fast_bytes = fast.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    lower_s = time.perf_counter() - begin
    names = tuple(dict.fromkeys(("energy", "time", "bytes", objective)))
    bounds = {name: bound_of(timeline, machine=machine, objective=name).value for name in names}
    return Setting(
        trace=trace,
        machine=machine,
        timeline=timeline,
        objective=objective,
        bound=bounds[objective],
        bounds=Bounds(energy_j=bounds["energy"], time_s=bounds["time"], traffic_bytes=bounds["bytes"]),
        capture_s=capture_s,
        lower_s=lower_s,
    )
