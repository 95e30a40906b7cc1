"""The head of the report, in words and numbers: what was asked, what tmtrain saves, how far the bound is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from tmtrain.plans import CLASS
from tmtrain.reporting.quantity import change, percent, quantity
from tmtrain.reporting.section import PAGING, Section
from tmtrain.units import format_bytes

# Abstract of TM-Training (ACM Transactions on Storage 21(4), article 32, 2025), against prior work that it
# does not name; the memory cost at a capacity of 12.5 %.
PAPER_HEADLINE = ("−64 %", "+55 %", "−87 %")
"""Inter-tier traffic, throughput per watt, memory cost: the paper's headline, shown for comparison only."""

_BOUNDED = {"energy": "energy", "time": "step time", "bytes": "traffic", "writes": "bytes written"}
_Measured = Literal["samples_per_j", "traffic_bytes"]
_MEASURES: dict[_Measured, str] = {
    "samples_per_j": "Samples per joule",
    "traffic_bytes": "Traffic between the tiers",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLine:
    """One line of the summary table; a cell is a change such as "−41 %", or "–" with nothing to compare."""

    section: Section
    traffic: str
    """Against the rival with the least traffic."""
    traffic_rival: str
    samples_per_j: str
    """Against the rival with the most; samples per joule are samples per second per watt."""
    samples_rival: str
    traffic_paging: str
    samples_paging: str
    memory_cost: str
    """Against fast memory for the whole footprint."""
    gap: str
    """Optimality gap: of the objective, to the certified lower bound."""


def head_lines(sections: Iterable[Section]) -> tuple[HeadLine, ...]:
    """Compare ours with the best rival, with paging and with all-fast, for each section that ours ran on.

    >>> from tmtrain.reporting.example import example_section
    >>> line = head_lines([example_section()])[0]
    >>> line.traffic, line.traffic_rival, line.gap
    ('−20 %', 'g10', '4.17 %')
    """
    return tuple(_head_line(section) for section in sections if section.ours is not None)


def overview(sections: Sequence[Section]) -> str:
    """Say in one sentence how ours compares over all of `sections` that it ran on with rivals; "" if on none.

    >>> from tmtrain.reporting.example import example_results
    >>> from tmtrain.reporting.section import sections_of
    >>> overview(sections_of(example_results()))
    'Against the best rival in each measure, samples per joule change by +13 % to +14 % and traffic...'
    """
    compared = [section for section in sections if section.ours is not None and section.rivals]
    if not compared:
        return ""
    samples, traffic = (_range(measure, sections=compared) for measure in ("samples_per_j", "traffic_bytes"))
    gaps = [section.ours.gap for section in compared if section.ours and section.ours.gap is not None]
    furthest = (
        f"; measured, the plans are at most {percent(max(gaps))} above their certified lower bounds"
        if gaps
        else ""
    )
    return (
        f"Against the best rival in each measure, samples per joule change by {samples} and traffic "
        f"between the tiers by {traffic}{furthest}."
    )


def sentences(section: Section) -> tuple[str, ...]:
    """Say what happened in `section`, in two to five sentences.

    >>> from tmtrain.reporting.example import example_section
    >>> sentences(example_section())[1]
    'Samples per joule: +14 % against the best rival (g10), +130 % against paging.'
    """
    candidates = (
        _step(section),
        _against("samples_per_j", section=section),
        _against("traffic_bytes", section=section),
        _cost(section),
        _bound(section),
    )
    return tuple(sentence for sentence in candidates if sentence)


def _head_line(section: Section) -> HeadLine:
    ours, paging, ideal = section.ours, section.rival(PAGING), section.ideal
    assert ours is not None
    traffic, samples = section.best_rival("traffic_bytes"), section.best_rival("samples_per_j")
    return HeadLine(
        section=section,
        traffic=change(ours.traffic_bytes, traffic.traffic_bytes) if traffic else "–",
        traffic_rival=traffic.policy if traffic else "",
        samples_per_j=change(ours.samples_per_j, samples.samples_per_j) if samples else "–",
        samples_rival=samples.policy if samples else "",
        traffic_paging=change(ours.traffic_bytes, paging.traffic_bytes) if paging else "–",
        samples_paging=change(ours.samples_per_j, paging.samples_per_j) if paging else "–",
        memory_cost=change(ours.memory_cost_usd, ideal.memory_cost_usd) if ideal else "–",
        gap=percent(ours.gap),
    )


def _range(measure: _Measured, *, sections: Sequence[Section]) -> str:
    """Return the least and the largest change against the best rival, as "a to b" or as one."""
    pairs = [
        (getattr(section.ours, measure), getattr(rival, measure))
        for section in sections
        if (rival := section.best_rival(measure)) is not None
    ]
    # A rival at 0 has no ratio: it comes last, with its own words.
    pairs.sort(key=lambda pair: pair[0] / pair[1] if pair[1] else float("inf"))
    ends = dict.fromkeys(change(*pair) for pair in (pairs[0], pairs[-1]))
    return " to ".join(ends)


def _step(section: Section) -> str:
    ours = section.ours
    if ours is None:
        return "tmtrain did not run here: only rivals are shown."
    slower = f"{ours.step_time_s / ours.ideal_step_time_s:.2f} times" if ours.ideal_step_time_s else "beside"
    aim, share = _BOUNDED.get(ours.objective, ours.objective), percent(ours.fast_fraction)
    time, ideal = quantity(ours.step_time_s, "s"), quantity(ours.ideal_step_time_s, "s")
    return (
        f"Asked for the least {aim} with {share} of the footprint in fast memory, tmtrain takes {time} per "
        f"step ({slower} the ideal {ideal}), moves {format_bytes(ours.traffic_bytes)} between the tiers and "
        f"uses {quantity(ours.energy_j, 'J')}."
    )


def _against(measure: _Measured, *, section: Section) -> str:
    ours, rival, paging = section.ours, section.best_rival(measure), section.rival(PAGING)
    if ours is None or rival is None:
        return ""
    own = getattr(ours, measure)
    against_best = change(own, getattr(rival, measure))
    sentence = f"{_MEASURES[measure]}: {against_best} against the best rival ({rival.policy})"
    if paging is not None and paging is not rival:
        sentence += f", {change(own, getattr(paging, measure))} against paging"
    return sentence + "."


def _cost(section: Section) -> str:
    if section.ours is None or section.ideal is None:
        return ""
    cost = change(section.ours.memory_cost_usd, section.ideal.memory_cost_usd)
    return f"Memory cost: {cost} against fast memory for the whole footprint."


def _bound(section: Section) -> str:
    if section.ours is None:
        return ""
    aim = _BOUNDED.get(section.ours.objective, section.ours.objective)
    if section.ours.gap is None:
        return f"The lower bound on {aim} is 0, so there is no gap to it."
    return (
        f"Measured, its plan is {percent(section.ours.gap)} above the certified lower bound on {aim}: no {CLASS} "
        "needs less."
    )
