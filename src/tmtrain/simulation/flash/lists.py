"""Compiled: page operations, and lists of them."""

from tmtrain.simulation.flash.compiled import compiled
from tmtrain.simulation.flash.state import FlashState


@compiled
def new_op(s: FlashState) -> int:
    """Return an unused row."""
    op = s.count[0].ops_free
    if op < 0:
        op = s.count[0].ops_used
        s.count[0].ops_used = op + 1
        return op
    s.count[0].ops_free = s.ops[op].next
    return op


@compiled
def free_op(s: FlashState, op: int) -> None:
    """Return a row to those that are unused."""
    s.ops[op].next = s.count[0].ops_free
    s.count[0].ops_free = op


@compiled
def append(s: FlashState, at: int, op: int) -> None:
    """Put an operation at the end of list `at`."""
    s.ops[op].next = -1
    if s.lists[at].tail < 0:
        s.lists[at].head = op
    else:
        s.ops[s.lists[at].tail].next = op
    s.lists[at].tail = op


@compiled
def unlink(s: FlashState, at: int, before: int, op: int) -> None:
    """Take an operation out of list `at`, where it follows `before` (-1: it is the first)."""
    if before < 0:
        s.lists[at].head = s.ops[op].next
    else:
        s.ops[before].next = s.ops[op].next
    if s.lists[at].tail == op:
        s.lists[at].tail = before
