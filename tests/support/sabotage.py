"""Plans that break one rule each, made from a good one."""

from collections.abc import Callable
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.checking.walk import walk
from tmtrain.lowering import Recomputations, Timeline, insert_recomputations
from tmtrain.lowering.recomputation import positions_of_slices
from tmtrain.machine import Machine
from tmtrain.plans import Bound, Certificate, Plan, Transfers

Sabotage: TypeAlias = Callable[[Plan], Plan]
Choice: TypeAlias = NDArray[np.bool_] | int


def change(plan: Plan, table: str, row: Choice, **by: int) -> Plan:
    """Add numbers to columns of a row of "transfers" or "recomputations"."""
    old: Any = getattr(plan, table)
    columns = {name: getattr(old, name).copy() for name in by}
    for name, amount in by.items():
        columns[name][row] += amount
    return replace(plan, **{table: replace(old, **columns)})


def take(plan: Plan, table: str, order: NDArray[np.int64]) -> Plan:
    """Keep the rows of a table that `order` names, in that order."""
    old: Any = getattr(plan, table)
    return replace(
        plan, **{table: replace(old, **{f.name: getattr(old, f.name)[order] for f in fields(old)})}
    )


def without(plan: Plan, table: str, row: int) -> Plan:
    """Remove a row of a table."""
    return take(plan, table, np.delete(np.arange(len(getattr(plan, table))), row))


def swapped(plan: Plan, table: str, one: int, other: int) -> Plan:
    """Exchange two rows of a table."""
    order = np.arange(len(getattr(plan, table)))
    order[[one, other]] = order[[other, one]]
    return take(plan, table, order)


def predicting(plan: Plan, **changes: float) -> Plan:
    """Change the prediction."""
    return replace(plan, prediction=replace(plan.prediction, **changes))  # pyright: ignore[reportArgumentType]


def certified(plan: Plan, **changes: object) -> Plan:
    """Change the certificate."""
    return replace(plan, certificate=replace(proof(plan), **changes))  # pyright: ignore[reportArgumentType]


def bounded(plan: Plan, **changes: object) -> Plan:
    """Change the bound of the certificate."""
    bound: Bound = replace(proof(plan).bound, **changes)  # pyright: ignore[reportArgumentType]
    return certified(plan, bound=bound)


def proof(plan: Plan) -> Certificate:
    """Return the certificate, which must be there."""
    assert plan.certificate is not None
    return plan.certificate


def dirty_transfer(plan: Plan, timeline: Timeline, machine: Machine) -> int:
    """Return a transfer whose content the step writes."""
    walked = walk(insert_recomputations(timeline, plan.recomputations, machine=machine))
    written = [any(access.writes for access in accesses) for accesses in walked.accesses]
    return next(row for row, extent in enumerate(plan.transfers.extent.tolist()) if written[extent])


def leaving_after_a_recomputation(plan: Plan, timeline: Timeline, machine: Machine) -> Plan:
    """Return the plan in which a page recomputed leaves once more before it is used."""
    longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
    recomputations = set(range(len(longer_step.slices))) - set(
        positions_of_slices(longer_step, of=timeline).tolist()
    )
    for extent, accesses in enumerate(walk(longer_step).accesses):
        for written, used in pairwise(accesses):
            if (
                written.slice in recomputations
                and written.writes
                and used.needs
                and used.slice > written.slice + 1
            ):
                times = dict.fromkeys(("write_slice", "written_slice", "leave_slice"), written.slice + 1)
                more = {"extent": extent, "first_page": 0, "pages": 1} | times
                more |= dict.fromkeys(("fetch_slice", "return_slice"), used.slice)
                moves = plan.transfers
                columns = {
                    name: np.append(getattr(moves, name), np.array(more[name], getattr(moves, name).dtype))
                    for name in moves.__slots__
                }
                return replace(plan, transfers=replace(moves, **columns))
    raise AssertionError("what is recomputed is used at once")


def chained_recomputations(plan: Plan, timeline: Timeline) -> tuple[int, int]:
    """Return two recomputations at one recompute point, of the same rows; the second reads what the first makes."""
    producers, recomputations = timeline.producers, plan.recomputations
    for second in range(1, len(recomputations)):
        for first in range(second):
            written = _touched(timeline, int(recomputations.producer[first]), producers.touch_writes)
            read = _touched(timeline, int(recomputations.producer[second]), producers.touch_reads)
            if written & read and _same(recomputations, first, second):
                return first, second
    raise AssertionError("no chain of recomputations in this plan")


def _same(recomputations: Recomputations, one: int, other: int) -> bool:
    columns = (recomputations.before_slice, recomputations.first_row, recomputations.end_row)
    return all(column[one] == column[other] for column in columns)


def _touched(timeline: Timeline, producer: int, how: NDArray[np.bool_]) -> set[int]:
    producers = timeline.producers
    begin, end = producers.touch_ptr[producers.op_ptr[[producer, producer + 1]]].tolist()
    return set(producers.touch_storage[begin:end][how[begin:end]].tolist())


def no_transfers(plan: Plan) -> Transfers:
    """Return an empty table of transfers."""
    return take(plan, "transfers", np.zeros(0, np.int64)).transfers
