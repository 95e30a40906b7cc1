"""A section: the rows that can be compared with each other, i.e. one model, machine, capacity and objective."""

from dataclasses import dataclass
from typing import Literal

from tmtrain.evaluation.row import Results, Row

OURS = "tmtrain"
ALL_FAST = "all-fast"
"""The ideal machine that has fast memory for everything."""
PAGING = "paging"
"""Demand paging that knows nothing of tensors: what hardware does today."""

STANDS_APART = (OURS, "tmtrain-move", "belady", ALL_FAST)
"""What nobody has published as a system: ours, with recomputation and without, the clairvoyant, and the ideal. All others
are rivals."""

Measure = Literal["step_time_s", "traffic_bytes", "energy_j", "samples_per_j"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """All policies on one model, batch, machine, capacity and objective: what a reader compares."""

    rows: tuple[Row, ...]
    """In the order of the file, at least one."""

    @property
    def key(self) -> str:
        """Identity within a page, fit for an HTML id.

        >>> from tmtrain.reporting.example import example_section
        >>> example_section().key
        'made-up-small-b4-example-12p5pct-energy'
        """
        row = self.first
        fraction = f"{100 * row.fast_fraction:.4g}".replace(".", "p")
        words = f"{row.model}-b{row.batch}-{row.machine}-{fraction}pct-{row.objective}"
        return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in words)

    @property
    def first(self) -> Row:
        """A row at this section's capacity: speaks for what all of them share."""
        return next((row for row in self.rows if row.policy != ALL_FAST), self.rows[0])

    @property
    def ours(self) -> Row | None:
        """Our row, if tmtrain was evaluated."""
        return next((row for row in self.rows if row.policy == OURS), None)

    @property
    def ideal(self) -> Row | None:
        """The all-fast row, if it was evaluated."""
        return next((row for row in self.rows if row.policy == ALL_FAST), None)

    @property
    def others(self) -> tuple[Row, ...]:
        """Every other policy that has the same fast memory, rival or not."""
        return tuple(row for row in self.rows if row.policy not in (OURS, ALL_FAST))

    @property
    def rivals(self) -> tuple[Row, ...]:
        """The published ones of them."""
        return tuple(row for row in self.rows if row.policy not in STANDS_APART)

    @property
    def ordered(self) -> tuple[Row, ...]:
        """Ours first, then the others from best to worst by the objective, all-fast last."""
        others = sorted(self.others, key=_needed)
        return tuple(row for row in (self.ours, *others, self.ideal) if row is not None)

    def best_rival(self, measure: Measure | None = None) -> Row | None:
        """Return the rival that is best by the objective, or in `measure` (samples per joule: most; the others: least).

        >>> from tmtrain.reporting.example import example_section
        >>> example_section().best_rival("traffic_bytes").policy
        'g10'
        """
        if measure is None:
            return min(self.rivals, key=_needed, default=None)
        sign = -1 if measure == "samples_per_j" else 1
        return min(self.rivals, key=lambda row: sign * getattr(row, measure), default=None)

    def rival(self, policy: str) -> Row | None:
        """Return the policy of that name, if it was evaluated and has the same fast memory.

        >>> from tmtrain.reporting.example import example_section
        >>> example_section().rival("no such policy") is None
        True
        """
        return next((row for row in self.others if row.policy == policy), None)


def _needed(row: Row) -> float:
    """Return what ranks a row: what it needs of the objective, of a mix its distance to the bound, if that is not 0."""
    columns = {
        "energy": row.energy_j,
        "time": row.step_time_s,
        "bytes": row.traffic_bytes,
        "writes": row.bytes_out,
    }
    return columns.get(row.objective, row.gap or 0.0)


def sections_of(results: Results) -> tuple[Section, ...]:
    """Group the rows of `results`, in order of first appearance.

    >>> from tmtrain.reporting.example import example_results
    >>> [section.first.model for section in sections_of(example_results())]
    ['made-up-small', 'made-up-large']
    """
    grouped: dict[tuple[object, ...], list[Row]] = {}
    for row in results.rows:
        grouped.setdefault(setting_of(row), []).append(row)
    return tuple(Section(rows=tuple(rows)) for rows in grouped.values())


def setting_of(row: Row) -> tuple[object, ...]:
    """Return what rows must share to be compared with each other."""
    return row.model, row.batch, row.machine, row.objective, row.budget_bytes
