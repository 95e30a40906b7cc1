"""`check_plan`: trace x plan x machine -> verdict, without the planner."""

from dataclasses import dataclass

from tmtrain.checking.bound.bound import proved_bound
from tmtrain.checking.bound.prices import prices_of
from tmtrain.checking.findings import Findings
from tmtrain.checking.report import CheckReport
from tmtrain.checking.rules.content import check_content, read_producers, sound_recomputations
from tmtrain.checking.rules.recompute_slices import check_slices
from tmtrain.checking.rules.residency import check_class, follow_transfers
from tmtrain.checking.rules.traffic import CLOSE, check_prediction, is_close, objective_value
from tmtrain.checking.walk import Walk, walk
from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering import SLICE_SHARE, Timeline, insert_recomputations, lower
from tmtrain.machine import Machine
from tmtrain.plans.plan import Plan
from tmtrain.trace import Trace, trace_fingerprint


@dataclass(slots=True)
class _Verdict:
    """Collects what the check brings to light."""

    findings: Findings
    bound: float | None = None
    value: float | None = None
    peak_bytes: int = 0
    random_recomputations: int = 0


def check_plan(
    trace: Trace, plan: Plan, *, machine: Machine, slice_share: float = SLICE_SHARE
) -> CheckReport:
    """Verify a plan and its certificate against the step they claim to be for.

    Nothing of the planner is used. The step is followed slice by slice with the plan's transfers and recomputations, and
    the bound is worked out from the certificate's multipliers. What breaks a rule becomes a `Violation`, nothing is raised.

    Args:
        trace: The step.
        plan: What to check.
        machine: What the plan was made for.
        slice_share: With which the step was lowered.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan
    >>> from tmtrain.trace import example_trace
    >>> report = check_plan(example_trace(), example_plan(), machine=load_machine("v4-slc"))
    >>> report.ok, report.bound == report.stored_bound, report.peak_bytes
    (True, True, 20480)
    """
    verdict = _Verdict(findings=Findings())
    timeline = _lower(trace, plan, machine=machine, slice_share=slice_share, findings=verdict.findings)
    if timeline is not None:
        walked = walk(timeline)
        _check_step(trace, plan, timeline, walked, machine=machine, verdict=verdict)
        _check_proof(plan, timeline, walked, machine=machine, verdict=verdict)
    return CheckReport(
        violations=tuple(verdict.findings.violations),
        objective=plan.objective,
        bound=verdict.bound,
        stored_bound=None if plan.certificate is None else plan.certificate.bound.value,
        value=verdict.value,
        peak_bytes=verdict.peak_bytes,
        random_recomputations=verdict.random_recomputations,
    )


def _lower(
    trace: Trace, plan: Plan, *, machine: Machine, slice_share: float, findings: Findings
) -> Timeline | None:
    """Lay the step on the machine as the plan has it; None where the plan is for something else."""
    fingerprint, page = trace_fingerprint(trace), machine.slow.page_bytes
    if plan.trace_fingerprint != fingerprint:
        where = f"the plan is for trace {plan.trace_fingerprint[:12]}..., this is {fingerprint[:12]}..."
        findings.add("fit", where, 1, "traces")
    if plan.machine != machine.name:
        findings.add("fit", f"the plan is for {plan.machine!r}, this is {machine.name!r}", 1, "machines")
    elif plan.machine_fingerprint != machine.fingerprint:
        where = f"the plan is for a machine {plan.machine!r} with other constants than this one has"
        findings.add("fit", where, 1, "machines")
    if plan.fast_bytes <= 0 or plan.fast_bytes % page:
        where = f"{plan.fast_bytes} bytes of fast memory are not a whole number of pages of {page}"
        findings.add("fit", where, plan.fast_bytes % page, "bytes")
    proof = plan.certificate
    if proof is not None and proof.objective != plan.objective:
        findings.add(
            "fit", f"the plan minimises {plan.objective!r}, its certificate something else", 1, "objectives"
        )
    if len(findings):
        return None
    try:
        timeline = lower(trace, machine=machine, fast_bytes=plan.fast_bytes, slice_share=slice_share)
        prices_of(plan.objective, timeline, machine=machine)
    except (InfeasibleError, InputError) as error:
        findings.add("fit", f"{error}", 1, "steps")
        return None
    if proof is not None and len(proof.bound.capacity_price) != len(timeline.slices):
        planned, there = len(proof.bound.capacity_price), len(timeline.slices)
        findings.add(
            "fit", f"the plan is for {planned} slices, the step has {there}", abs(planned - there), "slices"
        )
        return None
    return timeline


def _check_step(
    trace: Trace, plan: Plan, timeline: Timeline, walked: Walk, *, machine: Machine, verdict: _Verdict
) -> None:
    """Follow the step with its recomputations and transfers."""
    findings = verdict.findings
    recomputations = sound_recomputations(timeline, plan.recomputations, findings=findings)
    if len(findings):  # recomputations that are none cannot be put into the step
        return
    book = read_producers(trace, timeline)
    check_content(trace, timeline, walked, book, recomputations, findings=findings)
    longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
    positions = check_slices(timeline, longer_step, book, recomputations, findings=findings)
    longer_walk, before = walk(longer_step), len(findings)
    residency = follow_transfers(longer_step, longer_walk, plan.transfers, findings=findings)
    if len(findings) == before and plan.certificate is not None:
        check_class(longer_step, longer_walk, plan.transfers, positions, findings=findings)
    check_prediction(plan, timeline, longer_step, residency, machine=machine, findings=findings)
    is_random = trace.operators.is_random
    verdict.random_recomputations = sum(
        bool(is_random[book.ops[recomputation.producer]].any()) for recomputation in recomputations
    )
    verdict.peak_bytes = residency.peak_pages * timeline.page_bytes
    verdict.value = objective_value(plan, timeline, longer_step, objective=plan.objective, machine=machine)


def _check_proof(
    plan: Plan, timeline: Timeline, walked: Walk, *, machine: Machine, verdict: _Verdict
) -> None:
    """Work out what the multipliers prove, and compare bound and value with what is claimed."""
    proof, findings = plan.certificate, verdict.findings
    if proof is None:
        return
    try:
        bound = proved_bound(timeline, walked, proof, machine=machine)
    except InputError as error:
        findings.add("multipliers", f"{error}", 1, "families")
        return
    verdict.bound = bound
    if proof.bound.value > bound and not is_close(proof.bound.value, bound):
        where = f"the certificate claims {proof.bound.value:.12g}, its multipliers prove {bound:.12g}"
        findings.add("bound", where, proof.bound.value - bound, "of the objective")
    if verdict.value is None:
        return
    if not is_close(proof.predicted, verdict.value):
        where = f"the certificate claims a value of {proof.predicted:.12g}, the prediction has {verdict.value:.12g}"
        findings.add("value", where, abs(proof.predicted - verdict.value), "of the objective")
    if verdict.value < bound - CLOSE * abs(bound):
        where = f"the value {verdict.value:.12g} is below the bound {bound:.12g}: the prediction is too good"
        findings.add("proof", where, bound - verdict.value, "of the objective")
