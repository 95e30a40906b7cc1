"""Studies with a name."""

from dataclasses import dataclass

from tmtrain.errors import InputError
from tmtrain.evaluation.study import Study
from tmtrain.policies import POLICIES
from tmtrain.units import FastCapacity


def _shares(*fractions: float) -> tuple[FastCapacity, ...]:
    return tuple(FastCapacity(fraction=fraction) for fraction in fractions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A study, and a reduced one that shows the same in minutes."""

    full: Study
    quick: Study


SUITES = {
    "headline": Suite(
        full=Study(
            # The longest first: what is left for the end is short, and ends together.
            models=(
                "gpt3-175b",
                "t5-large",
                "llama-2-7b",
                "gpt2-xl",
                "gpt2",
                "resnet-152",
                "vit-large",
                "bert-large",
            ),
            machines=("v4-slc", "znvme-g10"),
            fasts=_shares(0.125, 0.5, 0.25, 0.0625),
            policies=POLICIES,
            bounded=(),
            keep_runs=False,
        ),
        quick=Study(
            models=("gpt2", "bert-large"),
            fasts=_shares(0.125, 0.5),
            policies=POLICIES,
            bounded=(),
            keep_runs=False,
            sensitivity=False,
            monitor=False,
        ),
    )
}
"""By name. "headline": the whole zoo under every policy."""


def find_suite(name: str, *, quick: bool = False) -> Study:
    """Return the study called `name`, or its reduced form.

    Raises:
        InputError: unknown suite.

    >>> len(find_suite("headline").models)
    8
    """
    if name not in SUITES:
        raise InputError(f"unknown suite {name!r}: choose one of {', '.join(SUITES)}")
    suite = SUITES[name]
    return suite.quick if quick else suite.full
