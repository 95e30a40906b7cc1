"""What a real memory and a real link can do at best with a cyclic step, pages being divisible: a programme in time.

It knows nothing of bins, queues, classes or units. Time is cut at the beginning and at the end of every slice: while
nothing runs between two slices the step waits as long as it likes. In each of these periods every gap may be fetched and
given up, every content may be written, at the rates of the link. Whatever a period does to the memory happens evenly, so
it is enough to look at the memory when a slice begins and when it ends.

    away[g][i]     pages of gap g that are not in fast memory at instant i (instants 2t, 2t + 1: slice t begins, ends)
    copied[e][i]   pages of content e that flash holds at instant i
    away <= copied: only what flash holds may be given up
"""

from tests.support.formulations import epochs_of
from tests.support.gaps import lacking, walk_gaps
from tests.support.solver import Oracle
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective


def flow_of_pages(
    timeline: Timeline, *, machine: Machine, objective: Objective, write_budget_bytes: float | None = None
) -> float:
    """Return the least objective of one steady step."""
    gaps, T, page = walk_gaps(timeline), len(timeline.slices), timeline.page_bytes
    lp = Oracle()
    seconds = timeline.slices.duration_s.tolist()
    # Period p ends at instant p: even ones are waits before slice p / 2, odd ones are slices.
    wait = [lp.column(objective.per_second) for _ in range(T)]
    read: list[dict[int, float]] = [{} for _ in range(2 * T)]
    written: list[dict[int, float]] = [{} for _ in range(2 * T)]
    away: list[dict[int, int]] = []
    for gap in gaps:
        last = 2 * (gap.end if gap.end > gap.start else gap.end + T)
        instants = range(2 * gap.start + 2, last)
        away.append({i: lp.column(most=gap.pages) for i in instants})
        for i in range(2 * gap.start + 2, last + 1):  # periods
            fetched = lp.column(objective.per_byte_in * page)
            read[i % (2 * T)][fetched] = page
            before, after = away[-1].get(i - 1), away[-1].get(i)
            # after >= before - fetched: anything may be given up, what comes back has been fetched
            signed = ((fetched, 1.0), (after, 1.0), (before, -1.0))
            row = {column: sign for column, sign in signed if column is not None}
            lp.at_least(row, 0.0)
    for members in epochs_of(gaps):
        made_by = gaps[members[0]].made_by
        assert made_by is not None
        copied: int | None = None
        first = 2 * made_by + 1
        shift = {g: _steps_later(made_by, gaps[g].start, T) for g in members}
        last = max(max(away[g]) + 2 * T * shift[g] for g in members)
        for i in range(first + 1, last + 1):
            out = lp.column(objective.per_byte_out * page)
            written[i % (2 * T)][out] = page
            now = lp.column(most=gaps[members[0]].pages)
            lp.equal({now: 1.0, out: -1.0} | ({} if copied is None else {copied: -1.0}), 0.0)
            copied = now
            for g in members:
                absent = away[g].get(i - 2 * T * shift[g])
                if absent is not None:
                    lp.at_most({absent: 1.0, now: -1.0}, 0.0)
    lacks = lacking(timeline, gaps)
    for t in range(T):
        for i in (2 * t, 2 * t + 1):
            inside = {
                columns[j]: 1.0
                for gap, columns in zip(gaps, away, strict=True)
                if t in gap.inside
                for j in (i, i + 2 * T)
                if j in columns
            }
            if inside or lacks[t] > 0:
                lp.at_least(inside, float(lacks[t]))
    for p in range(2 * T):
        run = {wait[p // 2]: -1.0} if p % 2 == 0 else {}
        time = 0.0 if p % 2 == 0 else seconds[p // 2]
        for moved, rate in (
            (read[p], machine.read_bytes_per_s),
            (written[p], machine.write_bytes_per_s),
            (read[p] | written[p], machine.shared_bytes_per_s),
        ):
            lp.at_most({column: size / rate for column, size in moved.items()} | run, time)
    if write_budget_bytes is not None:
        lp.at_most({column: size for moved in written for column, size in moved.items()}, write_budget_bytes)
    return objective.constant + objective.per_second * timeline.compute_s + lp.optimum()


def _steps_later(made_by: int, start: int, period: int) -> int:
    """1 where the gap begins, in the step of its own, one step after the content was made."""
    return int(start < made_by)
