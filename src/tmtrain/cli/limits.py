"""Options of ``tmtrain plan`` that limit a plan, or look for one within limits."""

from dataclasses import dataclass
from typing import Annotated, TypeAlias

from cyclopts import Group, Parameter

from tmtrain.cli.options import Flag
from tmtrain.errors import InputError
from tmtrain.lowering import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.wear import write_budget_of_life
from tmtrain.questions.min_fast import Limit, energy_limit, life_limit, slowdown_limit
from tmtrain.trace import Trace
from tmtrain.units import parse_bytes, parse_duration


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanLimits:
    """What a plan has to keep to."""

    write_budget: str | None = None
    """Most bytes written to flash in a step, e.g. 2GiB."""
    min_life: str | None = None
    """Drive life, e.g. 5y: as a write budget at the ideal step time, so the drive lasts at least that long."""
    time_limit: float | None = None
    """Seconds that the solver may take for each programme; then a simpler plan with the gap that is true for it."""

    def check(self) -> None:
        """Refuse what makes no sense, before anything is computed.

        Raises:
            InputError: not a size, a duration, or a time.
        """
        if self.write_budget is not None:
            parse_bytes(self.write_budget)
        if self.min_life is not None:
            parse_duration(self.min_life)
        if self.time_limit is not None and not self.time_limit > 0:
            raise InputError(f"--time-limit {self.time_limit:g} leaves no time: give seconds above 0")

    def write_budget_bytes(self, timeline: Timeline, machine: Machine) -> float | None:
        """Return the smaller of the two budgets.

        Raises:
            InputError: not a size or a duration.
        """
        budgets: list[float] = [] if self.write_budget is None else [float(parse_bytes(self.write_budget))]
        if self.min_life is not None:
            life_s = parse_duration(self.min_life)
            budgets.append(write_budget_of_life(machine, life_s=life_s, step_time_s=timeline.compute_s))
        return min(budgets, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSearch:
    """Many plans instead of one."""

    pareto: Flag = False
    """Plans between energy, time and drive life of which none beats another; --out takes a folder for the figure."""
    min_fast: Flag = False
    """The smallest fast memory that meets one of --max-slowdown, --max-energy, --min-life."""
    max_slowdown: float | None = None
    """For --min-fast: step time, in ideal ones, e.g. 1.2."""
    max_energy: str | None = None
    """For --min-fast: joules of a step (120J), or in those of the all-fast step (1.1x)."""

    def check(self, limits: PlanLimits) -> None:
        """Refuse combinations in which something would be ignored.

        Raises:
            InputError: says what to leave out.
        """
        if self.pareto and self.min_fast:
            raise InputError("--pareto and --min-fast are two questions: ask one at a time")
        of_this_search = [self.max_slowdown is not None, self.max_energy is not None]
        if self.min_fast and sum([*of_this_search, limits.min_life is not None]) != 1:
            raise InputError("--min-fast needs exactly one of --max-slowdown, --max-energy and --min-life")
        if self.min_fast and limits.write_budget is not None:
            raise InputError("--min-fast with --write-budget is not supported: ask for --min-life instead")
        if not self.min_fast and any(of_this_search):
            raise InputError("--max-slowdown and --max-energy are for --min-fast: add it, or leave them out")

    def limit(self, limits: PlanLimits, *, trace: Trace, machine: Machine) -> Limit:
        """Return the limit that --min-fast is asked for.

        Raises:
            InputError: it makes no sense.
        """
        if self.max_slowdown is not None:
            return slowdown_limit(trace, machine=machine, slowdown=self.max_slowdown)
        if self.max_energy is not None:
            return energy_limit(trace, machine=machine, text=self.max_energy)
        assert limits.min_life is not None
        life_s = parse_duration(limits.min_life)
        return life_limit(trace, machine=machine, life_s=life_s, words=limits.min_life)


LimitOptions: TypeAlias = Annotated[PlanLimits, Parameter(name="*", group=Group("Limits", sort_key=7))]
SearchOptions: TypeAlias = Annotated[PlanSearch, Parameter(name="*", group=Group("Searches", sort_key=8))]
