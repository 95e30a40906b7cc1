"""From inactive periods to a Decision: a plan that is advice, and a pager for what it does not cover.

A rival's plan need not be complete. A planner that stops before everything fits, or that handles one kind of tensor only,
leaves the rest to fetches on demand. So there is a pager beside the plan, `tmtrain.deciding.eviction.Rescue`, which
makes room by Belady's rule. The published systems fall back on least recently used pages, or run out of memory. Capacity,
link, latencies and the writes of dirty pages are the engine's, the same for all.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.eviction import Rescue
from tmtrain.deciding.policy import Decision, Knowledge
from tmtrain.lowering.recomputation import Recomputations
from tmtrain.planning import make_plan
from tmtrain.planning.placing.realise import earliest_with_slack
from tmtrain.plans import Transfers
from tmtrain.policies.shared.tensors import Tensors


def advise(
    tensors: Tensors,
    chosen: NDArray[np.bool_],
    *,
    fetch: NDArray[np.int64],
    name: str,
    write: NDArray[np.int64] | None = None,
    recomputations: Recomputations | None = None,
    ideal_s: float | None = None,
) -> Decision:
    """Turn the chosen periods into advice.

    Each extent of a chosen period leaves, and is written if flash has no copy, right after its last use.

    Args:
        tensors: The step.
        chosen: Periods spent on flash, shape (periods,).
        fetch: Slice from which on each period's tensor is fetched, ``start < fetch <= end``.
        name: Of the policy.
        write: Slice from which on each period's tensor may be written already, if its content is final; by default it is
            written when it leaves.
        recomputations: What has been put into the step, if the policy recomputes.
        ideal_s: Seconds of the step without them.
    """
    moved = tensors.moved_pages(chosen)
    recompute_s = 0.0 if ideal_s is None else tensors.timeline.compute_s - ideal_s
    plan = make_plan(
        tensors.problem,
        moved,
        timeline=tensors.timeline,
        machine=tensors.machine,
        objective=name,
        recomputations=recomputations,
        recompute_s=recompute_s,
        transfers=_transfers(tensors, chosen, fetch, write),
    )
    return Decision(
        timeline=tensors.timeline,
        knowledge=Knowledge.LAST_USE,
        plan=plan,
        pager=Rescue(tensors.timeline),
        recompute_s=recompute_s,
    )


def fetch_where_it_fits(
    tensors: Tensors, chosen: NDArray[np.bool_], *, latest: NDArray[np.int64], earliest: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Move each fetch back from `latest` to the earliest slice from which on the whole tensor has room until then.

    In order of `latest`, each uses up the room that it takes.

    Args:
        tensors: The step.
        chosen: Periods spent on flash.
        latest: Slice at which each fetch has to begin, ``start < latest <= end``.
        earliest: Not before this slice.

    Returns:
        The slice at which each fetch begins, shape (periods,).
    """
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(latest[rows], kind="stable")]
    fetch = latest.copy()
    fetch[rows] = earliest_with_slack(
        np.maximum(earliest[rows], tensors.periods.start[rows] + 1),
        latest[rows],
        tensors.periods.pages[rows],
        rows,
        tensors.room(chosen, latest),
    )
    return fetch


def fetch_ahead(tensors: Tensors, chosen: NDArray[np.bool_], *, operators: int) -> NDArray[np.int64]:
    """Begin each fetch so many operators before the one that is due, of those that anything is due at.

    The prefetch window of systems that work through a list: while one operator computes, what the next ones lack comes in.
    """
    periods, op = tensors.periods, tensors.timeline.slices.op
    T = tensors.num_slices
    due = np.unique(periods.end[chosen] % T)
    first_of_op = np.sort(due[np.unique(op[due], return_index=True)[1]])
    if not len(first_of_op):
        return periods.end.copy()
    position = np.searchsorted(first_of_op, periods.end % T, side="right") - 1
    begin = first_of_op[(position - operators) % len(first_of_op)]
    # A window of as many operators as there are reaches back a whole step.
    ahead = np.where(operators >= len(first_of_op), T, (periods.end - begin) % T)
    return np.maximum(periods.end - ahead, periods.start + 1)


def _transfers(
    tensors: Tensors, chosen: NDArray[np.bool_], fetch: NDArray[np.int64], write: NDArray[np.int64] | None
) -> Transfers:
    """Return one transfer per gap of the chosen periods."""
    gaps, period = tensors.problem.gaps, tensors.period_of_gap
    leave, due = tensors.span_of_gaps()
    begin = np.clip(fetch[period], leave, due)
    written = leave
    if write is not None:
        # What was written last in the step before is written when it leaves: its slice is not known here.
        in_this_step = (gaps.last_write >= 0) & (gaps.last_write < leave)
        written = np.clip(write[period], np.where(in_this_step, gaps.last_write + 1, leave), leave)
    rows = np.flatnonzero(chosen[period])
    leaves = leave[rows].astype(np.int32)
    return Transfers(
        extent=gaps.extent[rows],
        first_page=np.zeros(len(rows), np.int64),
        pages=gaps.pages[rows],
        write_slice=written[rows].astype(np.int32),
        written_slice=leaves,
        leave_slice=leaves,
        fetch_slice=begin[rows].astype(np.int32),
        return_slice=due[rows].astype(np.int32),
    )
