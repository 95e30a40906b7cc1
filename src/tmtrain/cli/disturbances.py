"""Options of ``tmtrain simulate`` for many steps in a row, with what disturbs them."""

import re
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter

from tmtrain.cli.options import Flag
from tmtrain.errors import InputError
from tmtrain.simulation.noise import Disturbance, Jitter, OneOff, RateDrift, SlowFlash

DEFAULT_JITTER = "5%"
ONE_OFF_SHARE = 0.1
"""Of the operators that a one-off strikes."""
OURS = ("tmtrain", "tmtrain-move")
"""Policies that have a plan of ours, which a monitor could change."""

Spans: TypeAlias = Annotated[tuple[str, ...], Parameter(negative=(), show_default=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManySteps:
    """Many steps instead of one steady step."""

    steps: int | None = None
    """How many steps to run, the first with fast memory empty; then the options below apply."""
    jitter: str | None = None
    """How much the time of each operator varies from step to step: a standard deviation, 5% if you say nothing."""
    slow_flash: Spans = ()
    """FACTOR@FIRST-LAST: in these steps, flash has so much of its rates, e.g. 0.5@10-24; said again for each."""
    drift: Spans = ()
    """FACTOR@FIRST: from this step on, operators take so many times as long, e.g. 1.3@30; said again for each."""
    one_off: Spans = ()
    """FACTOR@STEP: in this step, a tenth of the operators take so many times as long, e.g. 8@5; said again for each."""
    seed: int | None = None
    """Of all that is random, 0 if you say nothing: the same seed gives the same steps."""
    monitor: Flag = False
    """Let the timing monitor change the plan by what it measures, beside the static plan in the same steps."""

    def check(self, *, policy: str) -> None:
        """Refuse what makes no sense or would be ignored, before anything is computed.

        Raises:
            InputError: says what to add, change or leave out.
        """
        if self.steps is None:
            self._check_alone()
            return
        if self.steps < 2:
            raise InputError(
                f"--steps is {self.steps}: the first step begins with fast memory empty and does not count, "
                "so run at least 2"
            )
        if self.seed is not None and self.seed < 0:
            raise InputError(f"--seed is {self.seed}: give 0 or more")
        if policy not in OURS:
            raise InputError(
                f"--policy {policy} has no plan of ours to follow over many steps: leave --steps or --policy out, "
                f"or choose {' or '.join(OURS)}"
            )
        self.disturbances()

    def disturbances(self) -> tuple[Disturbance, ...]:
        """Return what disturbs the steps.

        Raises:
            InputError: not of the form that is explained, out of range, or after the last step.
        """
        jitter = _share(self.jitter or DEFAULT_JITTER)
        disturbances: list[Disturbance] = [Jitter(sigma=jitter)] if jitter else []
        for text in self.slow_flash:
            factor, first, last = self._span("--slow-flash", text, "FACTOR@FIRST-LAST", "0.5@10-24")
            disturbances.append(SlowFlash(factor=factor, first_step=first, last_step=last))
        for text in self.drift:
            factor, first, _ = self._span("--drift", text, "FACTOR@FIRST", "1.3@30")
            disturbances.append(RateDrift(first_step=first, factor=factor))
        for text in self.one_off:
            factor, step, _ = self._span("--one-off", text, "FACTOR@STEP", "8@5")
            disturbances.append(OneOff(step=step, factor=factor, share=ONE_OFF_SHARE))
        return tuple(disturbances)

    def _check_alone(self) -> None:
        options = {
            "--jitter": self.jitter is not None,
            "--slow-flash": bool(self.slow_flash),
            "--drift": bool(self.drift),
            "--one-off": bool(self.one_off),
            "--seed": self.seed is not None,
            "--monitor": self.monitor,
        }
        ignored = [name for name, is_said in options.items() if is_said]
        if ignored:
            raise InputError(
                f"{' and '.join(ignored)}: one steady step has no disturbances, say how many to run with --steps, e.g. 40"
            )

    def _span(self, option: str, text: str, form: str, example: str) -> tuple[float, int, int]:
        """Read FACTOR@FIRST or FACTOR@FIRST-LAST, as `form` says; without LAST, it is FIRST."""
        tail = "-([0-9]+)" if "-" in form else "()"
        match = re.fullmatch(rf"([0-9]*\.?[0-9]+)@([0-9]+){tail}", text.strip())
        if match is None or float(match[1]) <= 0:
            raise InputError(f"{option} {text}: write {form} with a factor above 0, e.g. {option} {example}")
        first, last = int(match[2]), int(match[3] or match[2])
        if last < first:
            raise InputError(f"{option} {text}: step {last} is before step {first}, turn them round")
        if self.steps is not None and first >= self.steps:
            raise InputError(
                f"{option} {text}: there is no step {first}, --steps {self.steps} runs steps 0 to {self.steps - 1}: "
                f"run more than {first}"
            )
        return float(match[1]), first, last


def _share(text: str) -> float:
    """Read a standard deviation: "5%" or "0.05".

    >>> _share("5%"), _share("0.05")
    (0.05, 0.05)
    """
    stripped = text.strip()
    try:
        share = float(stripped.removesuffix("%")) / (100 if stripped.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise InputError(
            f"--jitter {text} is no standard deviation: give a share from 0 to below 100%, e.g. 5%"
        )
    return share


ManyStepsOptions: TypeAlias = Annotated[ManySteps, Parameter(name="*", group=Group("Many steps", sort_key=8))]
