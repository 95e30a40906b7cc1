"""One part of a study: every policy in one setting. Parts know nothing of each other, so they can run in parallel."""

from dataclasses import dataclass
from pathlib import Path

from tmtrain.errors import InfeasibleError, PolicyError
from tmtrain.evaluation.compare import PolicyOutcome, run_policy
from tmtrain.evaluation.fate_record import record_fates, save_fates
from tmtrain.evaluation.monitored import MonitoredRun, disturb_setting
from tmtrain.evaluation.row import Refusal, Row
from tmtrain.evaluation.sensitivity import Case, sweep
from tmtrain.evaluation.setting import Setting, make_setting
from tmtrain.evaluation.study import Study, Tell
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.plans.file import save_plan
from tmtrain.policies.ours import Tmtrain
from tmtrain.simulation import save_result
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity

SENSITIVITY_POLICIES = (
    "lru",
    "belady",
    "checkpoint-lru",
    "sentinel",
    "g10",
    "flashneuron",
    "capuchin",
    "tmtrain",
)
"""Policies whose ranking the sensitivity study questions, as far as a study has them: one of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTask:
    """What one part computes."""

    trace: Trace
    machine: Machine
    fast: FastCapacity
    study: Study
    """The policies, and what to keep."""
    out: Path
    """Folder of the study."""
    capture_s: float

    @property
    def name(self) -> str:
        """Names its files."""
        words = f"{self.trace.model}.{self.machine.name}.{str(self.fast).replace(' ', '')}"
        return "".join(c if c.isalnum() or c in "-_." else "_" for c in words)

    @property
    def is_first(self) -> bool:
        """Whether this is the study's first capacity: the one that is looked at more closely."""
        return self.fast == self.study.fasts[0]

    @property
    def title(self) -> str:
        """Names it to people."""
        return f"{self.trace.model} on {self.machine.name} with {self.fast} fast"


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPart:
    """What came of one setting."""

    rows: list[Row]
    refusals: list[Refusal]
    cases: list[Case]
    monitored: list[MonitoredRun]
    """One at most."""


def run_part(task: StudyTask, tell: Tell = lambda _: None) -> StudyPart:
    """Compare all policies of the study in one setting; a capacity that is too small refuses all of them."""
    tell(f"{task.title}: plan and bound")
    try:
        setting = make_setting(
            task.trace,
            machine=task.machine,
            fast=task.fast,
            objective=task.study.objective,
            capture_s=task.capture_s,
            bounded=task.study.bounded,
        )
    except InfeasibleError as error:
        return StudyPart(rows=[], refusals=[_refusal(task, "", error)], cases=[], monitored=[])
    rows: list[Row] = []
    refusals: list[Refusal] = []
    questioned: dict[str, PolicyOutcome] = {}
    for policy in task.study.policies:
        tell(f"{task.title}: {policy}")
        try:
            outcome = _outcome(task, setting, policy)
        except (InfeasibleError, PolicyError) as error:
            refusals.append(_refusal(task, policy, error))
            continue
        rows.append(outcome.row)
        if policy in SENSITIVITY_POLICIES:
            questioned[policy] = outcome
    cases: list[Case] = []
    if task.study.sensitivity and task.is_first:
        tell(f"{task.title}: sensitivity")
        cases = sweep(setting, nominal=questioned)
    monitored: list[MonitoredRun] = []
    if task.study.monitor and task.is_first and Tmtrain.name in task.study.policies:
        tell(f"{task.title}: timing monitor")
        monitored = [disturb_setting(setting)]
    return StudyPart(rows=rows, refusals=refusals, cases=cases, monitored=monitored)


def _outcome(task: StudyTask, setting: Setting, policy: str) -> PolicyOutcome:
    """Run a policy, and keep the run if the study wants it."""
    if not task.study.keep_runs:
        return run_policy(setting, policy)
    run = f"runs/{task.name}.{policy}"
    outcome = run_policy(setting, policy, run=run)
    _save_run(outcome, setting, task.out / run)
    return outcome


def _save_run(outcome: PolicyOutcome, setting: Setting, run: Path) -> None:
    save_result(outcome.result, run)
    plan = outcome.decision.plan
    if plan is not None and plan.certificate is not None:
        _save_plan(plan, setting, run)


def _save_plan(plan: Plan, setting: Setting, run: Path) -> None:
    """Keep a plan beside its run (``tmtrain explain`` takes it), and what the report tells about it."""
    save_plan(plan, run.with_name(f"{run.name}.plan"))
    record = record_fates(plan, trace=setting.trace, timeline=setting.timeline, machine=setting.machine)
    save_fates(record, run.with_name(f"{run.name}.fates"))


def _refusal(task: StudyTask, policy: str, error: Exception) -> Refusal:
    machine = task.machine
    return Refusal(
        model=task.trace.model,
        batch=task.trace.samples,
        machine=machine.name,
        objective=task.study.objective,
        budget_bytes=task.fast.of(task.trace.footprint_bytes, page_bytes=machine.slow.page_bytes),
        policy=policy,
        reason=str(error),
    )
