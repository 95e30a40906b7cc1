"""`plan`: Timeline -> Plan, measured."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InternalError, PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import propose
from tmtrain.planning.placing.prediction import at_best
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.plans import Bound, Certificate, Plan
from tmtrain.policies.ours.changes import changes_of
from tmtrain.policies.ours.following import follow
from tmtrain.policies.ours.measuring import PLEASE_REPORT, ROUNDING, measure
from tmtrain.policies.ours.net import TINY, imitations

ROUNDS_WELL = 0.005
"""A plan of a large step whose optimality gap is no wider is kept without looking at others."""
PATIENCE = 3
"""So many proposals in a row that better nothing end the search."""
SMALL = 1000
"""Slices of a step that is small: every rival can be run on it (Note [Search])."""
MIDDLING = 5000
"""Slices of a step on which that takes about as long as planning it."""
WIDE = 0.05
"""An optimality gap with which a step that is not small is looked at so, too."""


def plan(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    cuts: NDArray[np.int64] | None = None,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Compute what is kept, moved and recomputed all along the step, for the least `objective`, and measure it.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step, or a mix of them such as
            "energy:1,time:0.5" (`tmtrain.planning.problem.objective`).
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        cuts: The partition into recompute blocks, where that is decided already (`Certificate.cuts` of a plan for the same
            step); otherwise two are tried.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take for each programme. Where that is too short, the plan recomputes
            nothing, or is found without a solver; its certificate says what is proved then, and the optimality gap is
            wide but true.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
        InternalError: the engine refuses the plan, or measures less than its bound: a bug of tmtrain.
    """
    search = Search(timeline=timeline, machine=machine, objective=objective)
    proposals = propose(
        timeline,
        machine=machine,
        objective=objective,
        recompute=recompute,
        cuts=cuts,
        write_budget_bytes=write_budget_bytes,
        time_limit_s=time_limit_s,
        hopeless=search.reaches,
    )
    for proposal in proposals:
        search.look_at(proposal)
        if search.is_over:
            break
    if search.wants_rivals:
        search.look_at_rivals()
    if search.is_tiny and not search.is_optimal:
        search.look_around()
    return search.best


class Search:
    """The best plan so far, of those that were measured.

    Note [Search]
        The first proposal of the planner is the best one as it predicts. The engine knows latencies, and what happens
        within a bin. So proposals are measured until one is within `ROUNDS_WELL` of the bound, or `PATIENCE` of them were
        in vain. A class whose own bound the best plan reaches already has nothing to propose. In a small step what is left
        of a wider gap is large enough for a rule of thumb to be better, so what every rival did is looked at as well
        (`tmtrain.policies.ours.net`). So it is in a middling one where the gap is `WIDE`: the answers of such a drive take
        as long as the step. In a tiny one a single transfer counts, and its times are changed one by one as long as the
        engine finds that better (`tmtrain.policies.ours.changes`).
    """

    def __init__(self, *, timeline: Timeline, machine: Machine, objective: str) -> None:
        self._timeline = timeline
        self._machine = machine
        self._objective = make_objective(objective, timeline=timeline, machine=machine)
        self._best: Plan | None = None
        self._tries_in_vain = 0

    @property
    def best(self) -> Plan:
        """The plan that needs least."""
        assert self._best is not None, "the planner proposes a plan or says why not"
        return self._best

    @property
    def is_tiny(self) -> bool:
        """Whether there is time for everything."""
        return len(self._timeline.slices) <= TINY

    @property
    def wants_rivals(self) -> bool:
        """Whether a rule of thumb may be better, and there is time to see."""
        slices = len(self._timeline.slices)
        if slices > SMALL:
            return slices <= MIDDLING and not _is_within(self.best, WIDE)
        return not _is_within(self.best, ROUNDING if self.is_tiny else ROUNDS_WELL)

    @property
    def is_optimal(self) -> bool:
        """Whether nothing can be better, but for rounding."""
        return _is_within(self.best, ROUNDING)

    @property
    def is_over(self) -> bool:
        """Whether the best plan is good enough, or better ones do not come."""
        return _is_within(self.best, ROUNDS_WELL) or self._tries_in_vain == PATIENCE

    def reaches(self, bound: Bound) -> bool:
        """Whether the best plan is as good as any that `bound` is about."""
        return _measured(self.best) <= bound.value

    def look_at(self, plan: Plan) -> None:
        """Measure a plan with a certificate, and keep it if it is better."""
        try:
            self._keep_better(plan)
        except PlanRefutedError as error:
            raise InternalError(
                f"the engine cannot run a plan that the planner made: {error}. {PLEASE_REPORT}"
            ) from error

    def look_at_rivals(self) -> None:
        """Measure what the rivals did, and keep it if it is better and within the limits."""
        proof, objective = self.best.certificate, self._objective
        assert proof is not None
        for plan in imitations(self._timeline, machine=self._machine, objective=objective):
            if proof.write_budget_bytes is not None and plan.prediction.bytes_out > proof.write_budget_bytes:
                continue
            with suppress(PlanRefutedError):  # it moved less than it seems: chunks that came in vain
                self._keep_better(self._certified(plan, proof))

    def look_around(self) -> None:
        """Change the times of the best plan one by one, until no change betters it."""
        problem = build_problem(follow(self.best, self._timeline, machine=self._machine).timeline)
        changes = list(changes_of(self.best.transfers, num_slices=problem.num_slices))
        measured = np.inf
        while _measured(self.best) < measured * (1 - ROUNDING):
            measured = _measured(self.best)
            for change in changes:
                changed = change.of(self.best.transfers, problem=problem)
                if changed is not None:
                    with suppress(PlanRefutedError):  # what comes earlier may take the room of a result
                        self._keep_better(replace(self.best, transfers=changed))

    def _certified(self, plan: Plan, proof: Certificate) -> Plan:
        """Return a plan that does not recompute with the bound of `proof`, in whose class it is."""
        needs = at_best(
            plan.prediction,
            proof.bound,
            objective=self._objective,
            timeline=self._timeline,
            machine=self._machine,
        )
        proof = replace(proof, predicted=self._objective.predicted(needs))
        return replace(plan, prediction=needs, certificate=proof)

    def _keep_better(self, plan: Plan) -> None:
        measured = measure(plan, self._timeline, machine=self._machine, objective=self._objective)
        if self._best is None or _measured(measured) < _measured(self._best):
            self._best, self._tries_in_vain = measured, 0
        else:
            self._tries_in_vain += 1


def _measured(plan: Plan) -> float:
    assert plan.certificate is not None
    assert plan.certificate.measured is not None
    return plan.certificate.measured


def _is_within(plan: Plan, share: float) -> bool:
    """Whether the plan needs at most so much more than its bound; a bound of 0 has no gap to compare."""
    assert plan.certificate is not None
    return _measured(plan) <= plan.certificate.bound.value * (1 + share)
