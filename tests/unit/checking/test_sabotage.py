"""The checker rejects every sabotaged plan, by the rule that was broken."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from tests.support import sabotage as do
from tests.support.proposals import proposed
from tests.support.row_steps import PAGE, lowered, random_step, row_machine, trace_of

from tmtrain.checking import CheckReport, Rule, check_plan
from tmtrain.plans import Plan

STEP = random_step(56)
"""Recomputations of some and of all rows, of which one reads what another makes; transfers of clean and dirty pages."""
TRACE = trace_of(STEP)
MACHINE = row_machine(seed=56, pages_per_s=0.3)
TIMELINE = lowered(STEP, machine=MACHINE, spare_pages=0)
T = len(TIMELINE.slices)
GOOD = proposed(TIMELINE, machine=MACHINE)
FIRST, SECOND = do.chained_recomputations(GOOD, TIMELINE)
DIRTY = do.dirty_transfer(GOOD, TIMELINE, MACHINE)
STEP_SLICES = T + len(GOOD.recomputations)
ALL_TIMES = dict.fromkeys(
    ("write_slice", "written_slice", "leave_slice", "fetch_slice", "return_slice"), STEP_SLICES
)


def checked(sabotaged: Plan) -> CheckReport:
    return check_plan(TRACE, sabotaged, machine=MACHINE, slice_share=1.0)


def rules(sabotaged: Plan) -> set[Rule]:
    return {violation.rule for violation in checked(sabotaged).violations}


def test_the_plan_as_it_was_passes() -> None:
    report = checked(GOOD)
    assert report.violations == ()
    assert report.bound == pytest.approx(do.proof(GOOD).bound.value, rel=1e-12)
    assert report.value == pytest.approx(do.proof(GOOD).predicted, rel=1e-12)
    assert report.peak_bytes <= GOOD.fast_bytes


def _transfers() -> Iterator[tuple[str, Rule, Plan]]:
    yield "all removed", "capacity", replace(GOOD, transfers=do.no_transfers(GOOD))
    yield "the front removed", "front", do.without(GOOD, "transfers", int(GOOD.transfers.first_page.argmin()))
    yield "twice the same", "front", do.take(GOOD, "transfers", np.arange(-1, len(GOOD.transfers)))
    yield "back too late", "absent-at-use", do.change(GOOD, "transfers", DIRTY, return_slice=1)
    yield (
        "left too early",
        "absent-at-use",
        do.change(GOOD, "transfers", DIRTY, leave_slice=-1, write_slice=-1),
    )
    yield "pages beyond the extent", "transfer", do.change(GOOD, "transfers", DIRTY, pages=99)
    yield "no pages", "transfer", do.change(GOOD, "transfers", DIRTY, pages=-99)
    yield "an extent that is not there", "transfer", do.change(GOOD, "transfers", DIRTY, extent=999)
    yield (
        "fetched before it leaves",
        "transfer",
        do.change(GOOD, "transfers", DIRTY, fetch_slice=-STEP_SLICES),
    )
    yield "written before it is final", "stale-write", _written_a_step_before()
    yield (
        "away for more than a step",
        "cycle",
        do.change(GOOD, "transfers", DIRTY, return_slice=STEP_SLICES, fetch_slice=STEP_SLICES),
    )
    yield "one page too many", "capacity", _one_page_too_many()
    yield (
        "away again after its recomputation",
        "class",
        do.leaving_after_a_recomputation(GOOD, TIMELINE, MACHINE),
    )
    yield "the back leaves first", "front", _the_back_leaves()


def _written_a_step_before() -> Plan:
    later = {name: by for name, by in ALL_TIMES.items() if name != "write_slice"}
    return do.change(GOOD, "transfers", DIRTY, **later)


def _one_page_too_many() -> Plan:
    """Fetch a piece of one page a slice earlier, when the fast tier is full."""
    moves = GOOD.transfers
    for row in np.flatnonzero((moves.fetch_slice > moves.leave_slice) & (moves.pages == 1)).tolist():
        sabotaged = do.change(GOOD, "transfers", row, fetch_slice=-1)
        if [(v.rule, v.amount) for v in checked(sabotaged).violations] == [("capacity", 1.0)]:
            return sabotaged
    raise AssertionError("the fast tier is never full")


def _the_back_leaves() -> Plan:
    row = int(np.flatnonzero(GOOD.transfers.first_page > 0)[0])
    others = np.flatnonzero(
        (GOOD.transfers.extent != GOOD.transfers.extent[row]) | (np.arange(len(GOOD.transfers)) == row)
    )
    return do.take(GOOD, "transfers", others)


def _recomputations() -> Iterator[tuple[str, Rule, Plan]]:
    yield "one removed", "capacity", do.without(GOOD, "recomputations", FIRST)
    yield (
        "moved before its input is there",
        "recomputation-input",
        do.change(GOOD, "recomputations", 0, before_slice=-int(GOOD.recomputations.before_slice[0])),
    )
    yield "one row less", "prediction", do.change(GOOD, "recomputations", FIRST, end_row=-1)
    yield "the order of two swapped", "capacity", do.swapped(GOOD, "recomputations", FIRST, SECOND)
    yield "rows that are not there", "recomputation", do.change(GOOD, "recomputations", FIRST, end_row=1)
    yield (
        "rows that the producer does not have",
        "recomputation",
        do.change(GOOD, "recomputations", FIRST, rows=3),
    )
    yield (
        "a producer that is not there",
        "recomputation",
        do.change(GOOD, "recomputations", FIRST, producer=99),
    )
    yield "back in time", "recomputation", do.change(GOOD, "recomputations", SECOND, before_slice=-1)


def _claims() -> Iterator[tuple[str, Rule, Plan]]:
    proof = do.proof(GOOD)
    bound, said = proof.bound, GOOD.prediction
    doubled = {name: 2 * values for name, values in bound.multipliers.items()}
    nan = bound.multipliers | {"room": np.full_like(bound.multipliers["room"], np.nan)}
    unpaired = {name: values[:-1] for name, values in bound.multipliers.items()}
    yield "another trace", "fit", replace(GOOD, trace_fingerprint="f" * 64)
    yield "another machine", "fit", replace(GOOD, machine="abacus")
    yield "another machine of that name", "fit", replace(GOOD, machine_fingerprint="f" * 64)
    yield "half a page of capacity", "fit", replace(GOOD, fast_bytes=GOOD.fast_bytes - PAGE // 2)
    yield "less capacity than a slice needs", "fit", replace(GOOD, fast_bytes=GOOD.fast_bytes - PAGE)
    yield "more capacity", "bound", replace(GOOD, fast_bytes=GOOD.fast_bytes + PAGE)
    yield "another objective", "fit", replace(GOOD, objective="time")
    yield "no objective", "fit", do.certified(replace(GOOD, objective="luck"), objective="luck")
    yield "bound raised", "bound", do.bounded(GOOD, value=bound.value * (1 + 1e-6))
    yield "multipliers doubled", "bound", do.bounded(GOOD, multipliers=doubled)
    yield "no multipliers", "bound", do.bounded(GOOD, multipliers={})
    yield "a multiplier that is no number", "multipliers", do.bounded(GOOD, multipliers=nan)
    yield "multipliers of fewer rows", "multipliers", do.bounded(GOOD, multipliers=unpaired)
    yield (
        "a family of tomorrow",
        "multipliers",
        do.bounded(GOOD, multipliers=bound.multipliers | {"hope": np.ones(1)}),
    )
    yield "bins that are none", "multipliers", do.bounded(GOOD, edges=bound.edges[::-1])
    yield "other slices", "fit", do.bounded(GOOD, capacity_price=bound.capacity_price[1:])
    yield "value lowered", "value", do.certified(GOOD, predicted=proof.predicted * (1 - 1e-6))
    yield "fewer bytes in", "prediction", do.predicting(GOOD, bytes_in=said.bytes_in - PAGE)
    yield "fewer bytes out", "prediction", do.predicting(GOOD, bytes_out=said.bytes_out - PAGE)
    yield "faster than the link", "prediction", do.predicting(GOOD, step_time_s=said.step_time_s / 2)
    yield "fewer joules", "prediction", do.predicting(GOOD, energy_j=said.energy_j * (1 - 1e-6))
    yield "recomputations for nothing", "prediction", do.predicting(GOOD, recompute_s=0.0)
    yield "better than possible", "proof", do.predicting(GOOD, step_time_s=1.0, bytes_in=0, bytes_out=0)
    yield "budget overrun", "write-budget", do.certified(GOOD, write_budget_bytes=float(said.bytes_out - 1))


CASES = [*_transfers(), *_recomputations(), *_claims()]


@pytest.mark.parametrize(
    ("rule", "sabotaged"), [pytest.param(rule, sabotaged, id=name) for name, rule, sabotaged in CASES]
)
def test_a_sabotaged_plan_is_rejected_by_the_right_rule(rule: Rule, sabotaged: Plan) -> None:
    assert rule in rules(sabotaged)


def test_weaker_claims_are_no_lies() -> None:
    proof = do.proof(GOOD)
    assert checked(do.bounded(GOOD, value=proof.bound.value / 2)).ok
    bare = checked(replace(GOOD, certificate=None))
    assert (bare.ok, bare.bound) == (True, None)
    halved = {name: values / 2 for name, values in proof.bound.multipliers.items()}
    weaker = checked(do.bounded(GOOD, multipliers=halved, value=0.0))
    assert weaker.ok
    assert weaker.bound is not None
    assert weaker.bound < proof.bound.value


def test_a_later_round_of_the_same_transfer_is_the_same_transfer() -> None:
    assert checked(do.change(GOOD, "transfers", DIRTY, **ALL_TIMES)).ok
