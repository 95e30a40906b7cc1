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
    plan: Plan,
    timeline: Timeline,
    longer_step: Timeline,
    residency: Residency,
    *,
    machine: Machine,
    findings: Findings,
) -> None:
    """Compare the prediction with the transfers, and the bytes written with the budget.

    How long the step waits for the link is the planner's estimate, which only a simulator can judge. Here the step must
    take no less than its computation, and no less than the busiest channel needs.
    """
    said, page = plan.prediction, timeline.page_bytes
    bytes_in, bytes_out = residency.pages_in * page, residency.pages_out * page
    _compare("bytes in", said.bytes_in, bytes_in, "bytes", findings=findings)
    _compare("bytes out", said.bytes_out, bytes_out, "bytes", findings=findings)
    _compare(
        "seconds of recomputations",
        said.recompute_s,
        longer_step.compute_s - timeline.compute_s,
        "s",
        findings=findings,
    )
    least = max(
        longer_step.compute_s,
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )
    if said.step_time_s < least * (1 - CLOSE):
        where = f"the step takes at least {least:.9g} s, {said.step_time_s:.9g} s are predicted"
        findings.add("prediction", where, least - said.step_time_s, "s")
    energy = objective_value(plan, timeline, longer_step, objective="energy", machine=machine)
    _compare("joules", said.energy_j, energy, "J", findings=findings)
    proof = plan.certificate
    if proof is not None and proof.write_budget_bytes is not None and bytes_out > proof.write_budget_bytes:
        where = f"{bytes_out} bytes are written, the budget is {proof.write_budget_bytes:.9g}"
        findings.add("write-budget", where, bytes_out - proof.write_budget_bytes, "bytes")


def objective_value(
    plan: Plan, timeline: Timeline, longer_step: Timeline, *, objective: str, machine: Machine
) -> float:
    """Return the objective of the step that `plan` predicts; `longer_step` is `timeline` with its recomputations."""
    prices = prices_of(objective, timeline, machine=machine)
    said = plan.prediction
    return (
        computing(prices, longer_step, machine=machine)
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


def _compare(what: str, said: float, actual: float, unit: str, *, findings: Findings) -> None:
    if not is_close(said, actual):
        where = f"{said:.9g} {what} are predicted, the plan makes {actual:.9g}"
        findings.add("prediction", where, abs(said - actual), unit)
