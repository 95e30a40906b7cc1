"""The columns of the programme, family by family: what each costs, less what the rows that it appears in pay for it.

For each column the *reduced cost* is its own cost minus the sum of multiplier times coefficient over its rows; the column
then takes the value between its limits that is cheapest at that cost. `columns_least` adds these up. The families:

    moved                 pages of an access gap that leave and come back
    there                 pages of a unit that need no fetch (first), and that are there at each of its recompute points
    recomputed            share of a recomputation that runs
    written               pages that an epoch has written by a gap; pages of units that only recomputations read
    absent, ahead, late   pages that are away at a slice; that have come early, or not gone yet, at the end of a bin
    in, out, stall        pages read and written and time waited in a bin
    out k, owed k, waiting k   of each class of patience
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from tmtrain.checking.bound.facts import NUM_CLASSES, ProgrammeFacts, Written, patience_of
from tmtrain.checking.bound.sides import Layout, RowPrices


class Column(NamedTuple):
    """A column's reduced cost and limits."""

    reduced: float
    lower: float
    upper: float

    @property
    def least(self) -> float:
        """Its cheapest contribution."""
        return self.reduced * (self.lower if self.reduced > 0 else self.upper)


def columns_least(facts: ProgrammeFacts, layout: Layout, y: RowPrices) -> float:
    """Return the least that all columns cost together at the multipliers `y`."""
    columns = _Columns(facts, layout, y)
    families = (
        columns.moved(),
        columns.there(),
        columns.recomputed(),
        columns.written(),
        columns.written_for_recomputations(),
        columns.absent(),
        columns.ahead(),
        columns.late(),
        columns.link(),
        columns.queues(),
    )
    return sum(column.least for family in families for column in family)


class _Columns:
    """Yields the columns of each family at the multipliers of the rows."""

    def __init__(self, facts: ProgrammeFacts, layout: Layout, y: RowPrices) -> None:
        self._f, self._layout, self._y = facts, layout, y
        self._price_in = facts.prices.byte_in * facts.unit_bytes
        self._price_out = facts.prices.byte_out * facts.unit_bytes
        self._in_time = [price * facts.in_time_scale for price in y.in_time]
        """What a page in time is paid at each row."""
        self._in_time_from = self._sums_of_in_time()

    def _sums_of_in_time(self) -> list[float]:
        """At each row of "in time": the multipliers from there to the end of its bin."""
        slices, sums, later = self._layout.due_slices, list(self._in_time), 0.0
        for row in reversed(range(len(slices))):
            same_bin = row + 1 < len(slices) and self._f.bin_of(slices[row]) == self._f.bin_of(
                slices[row + 1]
            )
            later = (later if same_bin else 0.0) + self._in_time[row]
            sums[row] = later
        return sums

    def _in_time_after(self, t: int) -> float:
        """Return the multipliers of "in time" at slice `t` or later in its bin."""
        row = bisect_left(self._layout.due_slices, t % self._f.T)
        if row == len(self._layout.due_slices):
            return 0.0
        is_same_bin = self._f.bin_of(self._layout.due_slices[row]) == self._f.bin_of(t)
        return self._in_time_from[row] if is_same_bin else 0.0

    def _due(self, t: int) -> float:
        """What the rows pay for a page that is due at slice `t`: it must be read, and in time."""
        return self._y.reads_ahead[self._f.bin_of(t)] - self._in_time_after(t)

    def _away(self, begin: int, end: int, *, wraps: bool = False) -> float:
        """What "absence" pays for a page that is away from slice `begin` to before `end`."""
        return _stocked(self._y.absence, begin, end, wraps=wraps)

    def moved(self) -> Iterator[Column]:
        """Dirty; away from the use before to the use after; due then."""
        f, y = self._f, self._y
        for g in f.chosen:
            gap = f.walked.gaps[g]
            paid = self._away(gap.start + 1, gap.end, wraps=gap.end <= gap.start) + self._due(gap.end)
            if g in self._layout.dirty:
                paid -= y.dirty[self._layout.dirty[g]]
            yield Column(self._price_in - paid, 0.0, gap.pages / f.page_unit)

    def there(self) -> Iterator[Column]:
        """A unit that may leave counts as away, and due at its end; what is there takes that back."""
        f, y = self._f, self._y
        paid_as_result, paid_as_input = self._paid_by_recomputations()
        written = {u: y.unit_dirty[row] for row, (_, units) in enumerate(self._layout.groups) for u in units}
        loose = {u: y.loose_dirty[row] for row, u in enumerate(self._layout.loose)}
        order = 0
        for number, unit in enumerate(f.reuse.units):
            size, last = f.unit_size[number], len(unit.points)
            times = [unit.start + 1, *unit.points, *([] if unit.end is None else [unit.end])]
            for index in range(last + 1):
                cost = paid = 0.0
                if index == 0:
                    cost -= self._price_in
                    paid += paid_as_result[number] + written.get(number, 0.0) + loose.get(number, 0.0)
                else:
                    paid += (
                        y.order[order + index - 1]
                        + paid_as_input[number, index - 1]
                        + self._due(times[index])
                    )
                if index < last:
                    paid -= y.order[order + index] + self._due(times[index + 1])
                elif unit.end is not None:
                    paid -= self._due(unit.end)
                else:  # nobody fetches the rest at the end: what is there at the last recompute point is all
                    cost += self._price_in
                    paid -= loose[number]
                if index + 1 < len(times):
                    paid -= self._away(times[index], times[index + 1])
                yield Column(cost - paid, 0.0, size)
            order += last

    def _paid_by_recomputations(self) -> tuple[defaultdict[int, float], defaultdict[tuple[int, int], float]]:
        """What "makes" pays for each unit, and "reads" for each recompute point of it."""
        as_result: defaultdict[int, float] = defaultdict(float)
        as_input: defaultdict[tuple[int, int], float] = defaultdict(float)
        for row, (_, unit) in enumerate(self._f.reuse.makes):
            as_result[unit] += self._y.makes[row]
        for row, (_, parts) in enumerate(self._f.reuse.reads):
            for part in parts:
                as_input[part.unit, part.point] += (
                    self._y.reads[row] * part.share / self._f.unit_size[part.unit]
                )
        return as_result, as_input

    def recomputed(self) -> Iterator[Column]:
        """Costs time and joules, needs inputs. Results are away until its recompute point; the link runs on meanwhile."""
        f, y, reuse = self._f, self._y, self._f.reuse
        paid = [0.0] * len(reuse.recomputations)
        for row, (recomputation, unit) in enumerate(reuse.makes):
            away = self._away(reuse.units[unit].start + 1, reuse.units[unit].points[0])
            paid[recomputation] += f.unit_size[unit] * (away - y.makes[row])
        for row, (recomputation, _) in enumerate(reuse.reads):
            paid[recomputation] -= y.reads[row]
        for row, (recomputation, other) in enumerate(reuse.chains):
            paid[recomputation] -= y.chains[row]
            paid[other] += y.chains[row]
        rate = min(f.read_rate, f.shared_rate)
        for number, recomputation in enumerate(reuse.recomputations):
            b, seconds = f.bin_of(recomputation.point), f.recompute_s[number]
            paid[number] -= (
                seconds / f.second * (y.read_channel[b] + y.write_channel[b] + y.shared_channel[b])
            )
            paid[number] += rate * seconds * self._in_time_after(recomputation.point)
            cost = f.prices.second * seconds + f.prices.joule * f.recompute_j[number]
            yield Column(cost - paid[number], 0.0, 0.0 if number in reuse.impossible else 1.0)

    def written(self) -> Iterator[Column]:
        """What an epoch has written by a gap; the growth from gap to gap is final at the write, and waits until the gap."""
        f, y = self._f, self._y
        paid = [0.0] * len(f.written)
        row_before = 0
        for number, row in enumerate(f.written):
            waits = self._waits(row)
            paid[number] += waits + (y.wear if row.is_last else 0.0)
            if row.gap in self._layout.dirty:
                paid[number] += y.dirty[self._layout.dirty[row.gap]]
            if row.previous is not None:
                paid[number] += y.written_before[row_before]
                paid[row.previous] -= y.written_before[row_before] + waits
                row_before += 1
        number_of_gap = {row.gap: number for number, row in enumerate(f.written)}
        for price, (gaps, _) in zip(y.unit_dirty, self._layout.groups, strict=True):
            for g in gaps:
                paid[number_of_gap[g]] += price
        for number, row in enumerate(f.written):
            cost = self._price_out if row.is_last else 0.0
            yield Column(cost - paid[number], 0.0, f.walked.gaps[row.gap].pages / f.page_unit)

    def _waits(self, row: Written) -> float:
        begin, end, k = self._f.bin_of(row.final), self._f.bin_of(row.gone), row.patience
        stocked = _stocked(self._y.waiting[k], begin, end, wraps=row.gone >= self._f.T)
        return stocked - self._y.owed[k][begin]

    def written_for_recomputations(self) -> Iterator[Column]:
        """Final when made, gone after the last use in forward."""
        f, y = self._f, self._y
        for row, number in enumerate(self._layout.loose):
            unit = f.reuse.units[number]
            k = patience_of(unit.final, unit.start, f.edges)
            begin, end = f.bin_of(unit.final), f.bin_of(unit.start + 1)
            paid = y.loose_dirty[row] + y.wear - y.owed[k][begin]
            paid += _stocked(y.waiting[k], begin, end, wraps=False)
            yield Column(self._price_out - paid, 0.0, f.unit_size[number])

    def absent(self) -> Iterator[Column]:
        """At least what the slice lacks."""
        f, y = self._f, self._y
        room = {end - 1: price for end, price in zip(f.edges[1:], y.room, strict=True)}
        for t in range(f.T):
            paid = y.absence[t] - (y.absence[t + 1] if t + 1 < f.T else 0.0) + room.get(t, 0.0)
            yield Column(-paid, max(f.lacks[t], -f.total), 2 * f.total)

    def ahead(self) -> Iterator[Column]:
        """Takes room at the end of its bin, is carried to the next, and is in time for all that is due there."""
        f, y = self._f, self._y
        in_time = [0.0] * f.B
        for price, t in zip(self._in_time, self._layout.due_slices, strict=True):
            in_time[f.bin_of(t)] += price
        for b in range(f.B):
            following = (b + 1) % f.B
            paid = y.reads_ahead[b] - y.reads_ahead[following] - y.room[b] + in_time[following]
            yield Column(-paid, 0.0, f.total)

    def late(self) -> Iterator[Column]:
        """Takes room at the end of its bin."""
        for k in range(NUM_CLASSES):
            for b in range(self._f.B):
                yield Column(self._y.room[b] - self._y.late[k][b], 0.0, self._f.total)

    def link(self) -> Iterator[Column]:
        """Pages read and written take seconds of their channel and of both; stalls give seconds to all."""
        f, y = self._f, self._y
        slowest = min(f.read_rate, f.write_rate)
        rate = min(f.read_rate, f.shared_rate)
        for b in range(f.B):
            per_second = (
                y.read_channel[b] / f.read_rate / f.second,
                y.write_channel[b] / f.write_rate / f.second,
                y.shared_channel[b] / f.shared_rate / f.second,
            )
            yield Column(y.reads_ahead[b] - per_second[0] - per_second[2], 0.0, f.total)
            yield Column(y.out[b] - per_second[1] - per_second[2], 0.0, f.total)
            channels = y.read_channel[b] + y.write_channel[b] + y.shared_channel[b]
            low = bisect_left(self._layout.due_slices, f.edges[b])
            high = bisect_left(self._layout.due_slices, f.edges[b + 1])
            paid = rate * f.second * sum(self._in_time[low:high]) - channels
            yield Column(f.prices.second * f.second - paid, 0.0, 4 * f.total / slowest / f.second)

    def queues(self) -> Iterator[Column]:
        """What is written of each class, what is owed, and what waits by its own choice."""
        f, y = self._f, self._y
        for k in range(NUM_CLASSES):
            owed, waiting, late = y.owed[k], y.waiting[k], y.late[k]
            for b in range(f.B):
                yield Column(-y.out[b] - owed[b], 0.0, f.total)
                yield Column(-(owed[b] - owed[(b + 1) % f.B] - late[b]), 0.0, f.total)
                after = waiting[b + 1] if b + 1 < f.B else 0.0
                yield Column(-(waiting[b] - after + late[b]), -f.total, 2 * f.total)


def _stocked(prices: list[float], begin: int, end: int, *, wraps: bool) -> float:
    """What the rows ``stock_p - stock_{p-1} - entries + exits = 0`` pay for one that is in stock from `begin` to `end`.

    Row 0 counts whatever is in stock at the start. `wraps`: `end` lies one round later.
    """
    period = len(prices)
    at_start = (end > 0 or begin == 0) if wraps else begin == 0 < end
    paid = -prices[0] if at_start else 0.0
    if 0 < begin < period:
        paid -= prices[begin]
    if 0 < end < period:
        paid += prices[end]
    return paid
