"""What ``tmtrain simulate --steps`` tells about many disturbed steps."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.evaluation.monitored import Contender, MonitoredRun
from tmtrain.planning.problem.objective import Objective
from tmtrain.reporting.monitored import disturbances_in_words
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.units import format_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredSummary:
    """Many disturbed steps under each contender, step by step."""

    run: MonitoredRun
    verdict: str
    """What the monitor gained or cost; empty without it."""
    out: str | None
    """Where the record and its figure were written."""

    def lines(self, goal: Objective) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them; `goal` says the unit of the objective."""
        yield "disturbed", disturbances_in_words(self.run)
        for contender in self.run.contenders:
            yield contender.name, _line(contender, goal)
        if self.verdict:
            yield "so", self.verdict
        if self.out is not None:
            yield "written", f"{self.out}/monitor.json, {self.out}/monitor.svg"


def _line(contender: Contender, goal: Objective) -> str:
    stall = (
        f"{format_seconds(contender.stall_s)} ({percent(contender.stall_s / contender.step_time_s)}) waiting"
    )
    value = f", {quantity(contender.value, goal.unit)}" if goal.name != "time" else ""
    adopted = contender.plans_adopted
    plans = f"{adopted} {'plan' if adopted == 1 else 'plans'} adopted"
    return f"{format_seconds(contender.step_time_s):>8} a step{value}, {stall}, {contender.misses} misses, {plans}"
