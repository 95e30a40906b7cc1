"""Whether the prediction is what the transfers and recomputations say, and the value what the prediction says."""

from tmtrain.checking.bound.prices import computing, prices_of
from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.residency import Residency
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans.plan import Plan

CLOSE = 1e-9
"""Relative difference of sums of the same numbers in another order."""


def check_prediction(
    plan: Plan, timeline: Timeline, longer: Timeline, moved: Residency, *, machine: Machine, found: Findings
) -> None:
    """Compare the prediction with the transfers, and the bytes written with the budget.

    How long the step waits for the link is the planner's estimate (the simulator tells); here it must be no less than the
    computation, and no less than the busiest channel needs.
    """
    said, page = plan.prediction, timeline.page_bytes
    bytes_in, bytes_out = moved.pages_in * page, moved.pages_out * page
    _compare("bytes in", said.bytes_in, bytes_in, "bytes", found=found)
    _compare("bytes out", said.bytes_out, bytes_out, "bytes", found=found)
    _compare(
        "seconds of recomputations", said.recompute_s, longer.compute_s - timeline.compute_s, "s", found=found
    )
    least = max(
        longer.compute_s,
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )
    if said.step_time_s < least * (1 - CLOSE):
        where = f"the step takes at least {least:.9g} s, {said.step_time_s:.9g} s are predicted"
        found.add("prediction", where, least - said.step_time_s, "s")
    energy = objective_value(plan, timeline, longer, objective="energy", machine=machine)
    _compare("joules", said.energy_j, energy, "J", found=found)
    proof = plan.certificate
    if proof is not None and proof.write_budget_bytes is not None and bytes_out > proof.write_budget_bytes:
        where = f"{bytes_out} bytes are written, the budget is {proof.write_budget_bytes:.9g}"
        found.add("write-budget", where, bytes_out - proof.write_budget_bytes, "bytes")


def objective_value(
    plan: Plan, timeline: Timeline, longer: Timeline, *, objective: str, machine: Machine
) -> float:
    """Return the objective of the step that `plan` predicts; `longer` is `timeline` with its recomputations."""
    prices = prices_of(objective, timeline, machine=machine)
    said = plan.prediction
    return (
        computing(prices, longer, machine=machine)
        + prices.second * said.step_time_s
        + prices.byte_in * said.bytes_in
        + prices.byte_out * said.bytes_out
    )


def is_close(a: float, b: float) -> bool:
    """Whether two numbers are the same but for rounding.

    >>> is_close(1.0, 1.0 + 1e-12), is_close(1.0, 1.000001)
    (True, False)
    """
    return abs(a - b) <= CLOSE * max(abs(a), abs(b), 1e-12)


def _compare(what: str, said: float, found_out: float, unit: str, *, found: Findings) -> None:
    if not is_close(said, found_out):
        where = f"{said:.9g} {what} are predicted, the plan makes {found_out:.9g}"
        found.add("prediction", where, abs(said - found_out), unit)
