"""The rows of the programme, family by family: what their sides are, and the multipliers of a certificate for them.

The families, and what each row asks of every plan of the class (legend in `tmtrain.checking.bound.facts`; pages in units):

    order            what is there at a unit's recompute point is there at the next
    makes            rows recomputed need no fetch
    reads, chains    a recomputation finds its input: in a unit, or made by another recomputation
    written before   what an epoch has written by one gap is written by the next
    dirty            what leaves in a gap has been written
    unit dirty       what leaves of units has been written, or is recomputed
    loose dirty      the same of units that only recomputations read
    wear             at most the budget is written
    absence          what is away at t: what was at t - 1, what leaves, what returns
    room             at the end of a bin the capacity also holds what has come early and what has not gone yet
    ... channel      each channel carries what it can in the bin's seconds
    reads ahead      what has come in before it is due: carried from bin to bin
    in time          what is due at a slice has come in by then
    out, owed k      what is written, by class; what is final and not written yet
    waiting k        what is final and not gone by its own choice
    late k           what is owed beyond that occupies memory that the plan counts as free
"""

from dataclasses import dataclass
from itertools import pairwise
from math import inf

from tmtrain.checking.bound.facts import NUM_CLASSES, ProgrammeFacts
from tmtrain.checking.bound.multipliers import Multipliers


@dataclass(frozen=True, slots=True, kw_only=True)
class RowPrices:
    """The multipliers of each family, by row."""

    order: list[float]
    makes: list[float]
    reads: list[float]
    chains: list[float]
    written_before: list[float]
    dirty: list[float]
    unit_dirty: list[float]
    loose_dirty: list[float]
    wear: float
    absence: list[float]
    room: list[float]
    read_channel: list[float]
    write_channel: list[float]
    shared_channel: list[float]
    reads_ahead: list[float]
    in_time: list[float]
    out: list[float]
    owed: list[list[float]]
    waiting: list[list[float]]
    late: list[list[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Which row is whose, in the families whose rows are not simply numbered."""

    dirty: dict[int, int]
    """Gap -> its row of "dirty"."""
    groups: list[tuple[tuple[int, ...], list[int]]]
    """Rows of "unit dirty": the gaps that write, and the units that leave."""
    loose: list[int]
    """Units that no gap of the step stands for, in order."""
    due_slices: list[int]
    """Slices of the rows of "in time"."""


def lay_out(facts: ProgrammeFacts) -> Layout:
    """Number the rows."""
    units, gaps = facts.reuse.units, facts.walked.gaps
    writing = {row.gap for row in facts.written}
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, unit in enumerate(units):
        if unit.gaps and writing.issuperset(unit.gaps):
            groups.setdefault(unit.gaps, []).append(number)
    due = {gaps[g].end for g in facts.chosen}
    for unit in units:
        due.update(unit.points, [unit.end] if unit.end is not None else [])
    return Layout(
        dirty={g: row for row, g in enumerate(g for g in facts.chosen if g in writing)},
        groups=list(groups.items()),
        loose=[number for number, unit in enumerate(units) if not unit.gaps],
        due_slices=sorted(due),
    )


def price_rows(
    facts: ProgrammeFacts, layout: Layout, y: Multipliers, *, write_budget_bytes: float | None
) -> RowPrices:
    """Take the multipliers of all families.

    Raises:
        InputError: they are not those of this step and class.
    """
    reuse, T, B = facts.reuse, facts.T, facts.B
    bins = list(pairwise(facts.edges))
    seconds = [(facts.clock[end] - facts.clock[begin]) / facts.second for begin, end in bins]
    due = [-sum(facts.due_whole[begin:end]) for begin, end in bins]
    unit_dirty = [sum(facts.unit_size[u] for u in units) for _, units in layout.groups]
    none, zeros, unbounded = [-inf] * B, [0.0] * B, [0.0] * T
    budget = [] if write_budget_bytes is None else [write_budget_bytes / facts.unit_bytes]
    classes = range(NUM_CLASSES)
    prices = RowPrices(
        order=y.take("order", [0.0] * sum(len(unit.points) for unit in reuse.units)),
        makes=y.take("makes", [0.0] * len(reuse.makes)),
        reads=y.take("reads", [0.0] * len(reuse.reads)),
        chains=y.take("chains", [0.0] * len(reuse.chains)),
        written_before=y.take("written before", [0.0] * sum(w.previous is not None for w in facts.written)),
        dirty=y.take("dirty", [0.0] * len(layout.dirty)),
        unit_dirty=y.take("unit dirty", unit_dirty),
        loose_dirty=y.take("loose dirty", [0.0] * len(layout.loose)),
        wear=sum(y.take("wear", [-inf] * len(budget), budget)),
        absence=y.take("absence", unbounded, unbounded),
        room=y.take("room", [facts.lacks[end - 1] for end in facts.edges[1:]]),
        read_channel=y.take("read channel", none, seconds),
        write_channel=y.take("write channel", none, seconds),
        shared_channel=y.take("shared channel", none, seconds),
        reads_ahead=y.take("reads ahead", due, due),
        in_time=y.take("in time", _in_time_sides(facts, layout)),
        out=y.take("out", zeros, zeros),
        owed=[y.take(f"owed {k}", zeros, zeros) for k in classes],
        waiting=[y.take(f"waiting {k}", zeros, zeros) for k in classes],
        late=[y.take(f"late {k}", zeros) for k in classes],
    )
    y.refuse_the_rest()
    return prices


def _in_time_sides(facts: ProgrammeFacts, layout: Layout) -> list[float]:
    """What is due in the bin by each slice, less what the channel carries while the bin computes up to there."""
    rate = min(facts.read_rate, facts.shared_rate)
    sides: list[float] = []
    for t in layout.due_slices:
        begin = facts.edges[facts.bin_of(t)]
        due = sum(facts.due_whole[begin : t + 1])
        sides.append((due - rate * (facts.clock[t] - facts.clock[begin])) * facts.in_time_scale)
    return sides
