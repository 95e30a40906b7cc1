"""How far each uncertain constant moves what the comparison says, and which of them turn a ranking round."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from tmtrain.evaluation.sensitivity import Case
from tmtrain.reporting.quantity import quantity
from tmtrain.reporting.section import ALL_FAST, OURS, STANDS_APART

_TIE = 1e-3
"""Samples per joule that differ by less than this share rank alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TornadoPoint:
    """The comparison at one value of a constant."""

    value: float
    samples_per_j: dict[str, float]
    """By policy."""

    @property
    def ratio(self) -> float:
        """Samples per joule of ours over those of the best published rival at this value."""
        rivals = (v for name, v in self.samples_per_j.items() if name not in STANDS_APART)
        return self.samples_per_j[OURS] / max(rivals)

    def leads(self, policy: str, *, over: str) -> bool:
        """Whether `policy` is clearly ahead."""
        return self.samples_per_j[policy] > self.samples_per_j[over] * (1 + _TIE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """One constant over its range."""

    constant: str
    unit: str
    nominal: float
    points: tuple[TornadoPoint, ...]
    """Ascending in value; the nominal one is among them."""

    @property
    def at_nominal(self) -> TornadoPoint:
        """The comparison as it is."""
        return next(point for point in self.points if point.value == self.nominal)

    @property
    def least(self) -> float:
        """Smallest ratio over the range."""
        return min(point.ratio for point in self.points)

    @property
    def most(self) -> float:
        """Largest ratio over the range."""
        return max(point.ratio for point in self.points)

    def printed(self, value: float) -> str:
        """Print a value of the constant.

        >>> from tmtrain.reporting.example import example_sensitivity
        >>> swing = swings(example_sensitivity().cases[:25])[0]
        >>> swing.printed(swing.nominal)
        '800 pJ/B'
        """
        return quantity(value, "" if self.unit == "1" else self.unit)


def swings(cases: Iterable[Case]) -> tuple[Swing, ...]:
    """Return one swing per constant, the largest first; none where ours or every rival with as much memory is missing.

    Args:
        cases: of one model, machine and capacity.

    >>> from tmtrain.reporting.example import example_sensitivity
    >>> [(swing.constant, len(swing.points)) for swing in swings(example_sensitivity().cases[:25])]
    [('slow.program_energy_j_per_byte', 5)]
    """
    by_constant: dict[str, list[Case]] = {}
    for case in cases:
        if case.policy != ALL_FAST:
            by_constant.setdefault(case.constant, []).append(case)
    complete = [_swing(own) for own in by_constant.values() if _can_be_compared(own)]
    return tuple(sorted(complete, key=lambda swing: swing.least / swing.most))


def flips(swings: Sequence[Swing]) -> tuple[str, ...]:
    """Say for each pair of policies and each constant that turns their ranking round where it does; or that none does.

    >>> from tmtrain.reporting.example import example_sensitivity
    >>> flips(swings(example_sensitivity().cases[:25]))
    ('No constant turns a ranking round anywhere in its range.',)
    """
    changes = tuple(sentence for swing in swings for sentence in _flips_of(swing))
    return changes or ("No constant turns a ranking round anywhere in its range.",)


def _can_be_compared(cases: Iterable[Case]) -> bool:
    policies = {case.policy for case in cases}
    return OURS in policies and not policies <= set(STANDS_APART)


def _swing(cases: list[Case]) -> Swing:
    at: dict[float, dict[str, float]] = {}
    for case in cases:
        at.setdefault(case.value, {})[case.policy] = case.samples_per_j
    points = tuple(TornadoPoint(value=value, samples_per_j=at[value]) for value in sorted(at))
    first = cases[0]
    return Swing(constant=first.constant, unit=first.unit, nominal=first.nominal, points=points)


def _flips_of(swing: Swing) -> Iterator[str]:
    nominal = swing.at_nominal
    by_rank = sorted(nominal.samples_per_j, key=lambda name: -nominal.samples_per_j[name])
    for leader, loser in combinations(by_rank, 2):
        # Two that are alike at nominal have no ranking to turn round.
        if not nominal.leads(leader, over=loser):
            continue
        turned = [point.value for point in swing.points if point.leads(loser, over=leader)]
        if turned:
            nearest = min(turned, key=lambda value: abs(value - swing.nominal))
            yield (
                f"{swing.constant}: at {swing.printed(nearest)} instead of {swing.printed(swing.nominal)} "
                f"{loser} is ahead of {leader}."
            )
