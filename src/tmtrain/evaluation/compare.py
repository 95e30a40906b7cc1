"""One policy in one setting: decide, simulate, and put the numbers into a row."""

import time
from dataclasses import dataclass
from typing import Any

from tmtrain.deciding import Decision
from tmtrain.evaluation.cost import costs_of
from tmtrain.evaluation.row import Row, WallClock
from tmtrain.evaluation.setting import Setting
from tmtrain.lowering.energy import TRANSFER_COMPONENTS
from tmtrain.machine import Machine, lifetime_s
from tmtrain.plans import Plan, optimality_gap
from tmtrain.policies import follow, make_policy
from tmtrain.policies.ours import Tmtrain
from tmtrain.simulation import Result, Tried, simulate, try_policy
from tmtrain.simulation.power import power_over_time
from tmtrain.units import YEAR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyOutcome:
    """A row and what is behind it."""

    row: Row
    decision: Decision
    result: Result


def run_policy(setting: Setting, policy: str, *, run: str | None = None) -> PolicyOutcome:
    """Let `policy` manage the step of `setting`.

    Args:
        setting: The step, machine and capacity.
        policy: Its name.
        run: Where the caller will keep the result, for the row.

    Raises:
        InputError: unknown policy.
        PolicyError: the policy has no answer for this step.
    """
    tried = try_in(setting, policy)
    decision, result = tried.decision, tried.result
    wall = WallClock(
        capture_s=setting.capture_s,
        lower_s=setting.lower_s,
        plan_s=tried.decide_s,
        simulate_s=tried.simulate_s,
    )
    row = _row(setting, decision, result, wall=wall, run=run)
    return PolicyOutcome(row=row, decision=decision, result=result)


def try_in(setting: Setting, policy: str) -> Tried:
    """Run `policy` at its best; ours has been planned with the setting.

    Raises: as `run_policy`.
    """
    timeline, machine = setting.timeline, setting.machine
    if policy != Tmtrain.name:
        chosen = make_policy(policy, objective=setting.objective)
        return try_policy(chosen, timeline, machine=machine, objective=setting.objective)
    decision = follow(setting.ours, timeline, machine=machine)
    begin = time.perf_counter()
    result = simulate(decision, machine=machine, policy=policy)
    seconds = time.perf_counter() - begin
    return Tried(decision=decision, result=result, decide_s=setting.plan_s, simulate_s=seconds)


def _row(setting: Setting, decision: Decision, result: Result, *, wall: WallClock, run: str | None) -> Row:
    machine, trace, footprint = setting.machine, setting.trace, setting.trace.footprint_bytes
    costs = costs_of(result, footprint_bytes=footprint, machine=machine, has_flash=decision.has_flash)
    power = power_over_time(result)
    return Row(
        model=trace.model,
        batch=trace.samples,
        machine=machine.name,
        budget_bytes=setting.timeline.fast_bytes,
        fast_bytes=result.fast_bytes,
        fast_fraction=result.fast_bytes / footprint,
        footprint_bytes=footprint,
        policy=result.policy,
        objective=setting.objective,
        step_time_s=result.step_time_s,
        ideal_step_time_s=result.ideal_step_time_s,
        recompute_s=result.recompute_s,
        stall_s=result.stall_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
        traffic_bytes=result.traffic_bytes,
        energy_j=result.energy_j,
        energy_by_component_j=result.energy_by_component_j,
        average_power_w=power.average_w,
        peak_power_w=power.peak_w,
        transfer_energy_share=_transfer_energy_share(result),
        samples_per_s=trace.samples / result.step_time_s,
        samples_per_j=trace.samples / result.energy_j,
        bytes_written_per_step=result.bytes_out * machine.slow.write_amplification,
        lifetime_years=_lifetime_years(result, machine),
        memory_cost_usd=next(iter(costs.values())).usd,
        costs=costs,
        bound=setting.bound,
        gap=optimality_gap(setting.needed(result), setting.bound),
        bounds=setting.bounds,
        wall_clock=wall,
        **_about_plan(decision.plan),
        measured_steps=result.measured_steps,
        run=run,
    )


def _about_plan(plan: Plan | None) -> dict[str, Any]:
    """Return what a row says of a plan that has a bound: ours."""
    if plan is None or plan.certificate is None:
        return {}
    return {"plan_origin": plan.origin, "prediction_error": plan.certificate.prediction_error}


def _lifetime_years(result: Result, machine: Machine) -> float | None:
    if not result.bytes_out:
        return None
    return lifetime_s(machine.slow, written_bytes_per_s=result.bytes_out / result.step_time_s) / YEAR_S


def _transfer_energy_share(result: Result) -> float:
    moving_j = sum(result.energy_by_component_j[name] for name in TRANSFER_COMPONENTS)
    return moving_j / result.energy_j
