"""Studies with a name."""

from dataclasses import dataclass

from tmtrain.errors import InputError
from tmtrain.evaluation.study import Study
from tmtrain.policies import DEFAULT_POLICIES, POLICIES
from tmtrain.units import FastCapacity


def _shares(*fractions: float) -> tuple[FastCapacity, ...]:
    return tuple(FastCapacity(fraction=fraction) for fraction in fractions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """A study, and a reduced one that shows the same in minutes."""

    full: Study
    quick: Study


MODELS = (
    # The longest first: what is left for the end is short, and ends together.
    "gpt3-175b",
    "mixtral-8x7b",
    "gpt-oss-20b",
    "t5-large",
    "whisper-large",
    "llama-3-8b",
    "llama-3-8b-lora",
    "qwen3-8b",
    "llama-2-7b",
    "gpt2-xl",
    "gpt2",
    "resnet-152",
    "convnext-large",
    "dit-xl",
    "vit-huge",
    "vit-large",
    "bert-large",
)
"""The zoo as far as it fits into a quarter of an hour, and no model that runs other operators than people train."""
NAMED = (*DEFAULT_POLICIES, "tmtrain-move")

SUITES = {
    "headline": Suite(
        full=Study(
            models=MODELS, policies=NAMED, bounded=(), keep_runs=False, sensitivity=False, monitor=False
        ),
        quick=Study(
            models=("gpt2", "bert-large"),
            policies=NAMED,
            bounded=(),
            keep_runs=False,
            sensitivity=False,
            monitor=False,
        ),
    ),
    "rivals": Suite(
        full=Study(
            models=MODELS,
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
    ),
}
"""By name. "headline": ours beside the systems that people name, at 12.5 %; "rivals": the same under every policy."""


def find_suite(name: str, *, quick: bool = False) -> Study:
    """Return the study called `name`, or its reduced form.

    Raises:
        InputError: unknown suite.

    >>> len(find_suite("headline").models)
    17
    """
    if name not in SUITES:
        raise InputError(f"unknown suite {name!r}: choose one of {', '.join(SUITES)}")
    suite = SUITES[name]
    return suite.quick if quick else suite.full
