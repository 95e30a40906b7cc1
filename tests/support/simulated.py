"""Steps, worked out by hand, under a policy: the numbers that a person would write beside the drawing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tests.support.machines import toy_machine
from tests.support.proposals import proposed
from tests.support.timelines import make_timeline
from tmtrain.deciding import Decision
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, Paging
from tmtrain.policies import POLICIES, follow, make_policy
from tmtrain.simulation import Result, simulate

PAGE = 4096
"""Bytes of a page, and so one page per second is this rate."""


BASIC_POLICIES = ("all-fast", "paging", "lru", "belady", "largest-first", "tmtrain-move", "tmtrain")
"""One of each kind, quick to run: for laws that every policy must keep."""
NEEDS_CONVOLUTIONS = ("vdnn-conv",)
"""Policies that refuse a step without them."""
ANY_STEP = tuple(name for name in POLICIES if name not in NEEDS_CONVOLUTIONS)
"""Policies that have an answer for every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyStep:
    """One steady step in pages and seconds."""

    pages_in: float
    pages_out: float
    step_s: float
    stall_s: float


def pages_per_second(
    *,
    read: float = 1.0,
    write: float = 1.0,
    shared: float | None = None,
    read_latency_s: float = 0.0,
    write_latency_s: float = 0.0,
    fault_latency_s: float = 0.0,
    fault_batch_pages: int = 1,
) -> Machine:
    """Build a machine by what its flash moves per second; the two directions do not share by default."""
    machine = toy_machine(
        read_bytes_per_s=PAGE * read,
        write_bytes_per_s=PAGE * write,
        shared_bytes_per_s=PAGE * (read + write if shared is None else shared),
        read_latency_s=read_latency_s,
        write_latency_s=write_latency_s,
        page_bytes=PAGE,
    )
    return replace(
        machine, paging=Paging(fault_latency_s=fault_latency_s, fault_batch_pages=fault_batch_pages)
    )


def step(
    slices: Sequence[str],
    *,
    pages: Mapping[str, int],
    fast_pages: int,
    frees: Mapping[int, str] | None = None,
    duration_s: Sequence[float] | None = None,
) -> Timeline:
    """Build a timeline of slices of one second."""
    return make_timeline(slices, pages=pages, fast_pages=fast_pages, frees=frees, duration_s=duration_s)


def decided(policy: str, timeline: Timeline, machine: Machine, *, objective: str = "bytes") -> Decision:
    """Let `policy` look at the step; of ours, the plan of the programme."""
    if policy.startswith("tmtrain"):
        ours = proposed(timeline, machine=machine, objective=objective, recompute=policy == "tmtrain")
        return follow(ours, timeline, machine=machine)
    return make_policy(policy, objective=objective).decide(timeline, machine=machine)


def simulated(policy: str, timeline: Timeline, machine: Machine, *, objective: str = "bytes") -> Result:
    """Run `policy` on the step."""
    decision = decided(policy, timeline, machine, objective=objective)
    return simulate(decision, machine=machine, policy=policy)


def steady_step(policy: str, timeline: Timeline, machine: Machine, *, objective: str = "bytes") -> SteadyStep:
    """Run `policy` on the step and return it in pages and seconds, to a millionth."""
    return in_pages(simulated(policy, timeline, machine, objective=objective))


def in_pages(result: Result) -> SteadyStep:
    """Return a result in pages and seconds, to a millionth."""
    return SteadyStep(
        pages_in=result.bytes_in / PAGE,
        pages_out=result.bytes_out / PAGE,
        step_s=round(result.step_time_s, 6),
        stall_s=round(result.stall_s, 6),
    )
