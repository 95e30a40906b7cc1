"""A small invented evaluation, consistent with itself, for doctests and tests; it measures nothing.

A toy step on a toy machine. Activations grow through forward and shrink through backward. What exceeds the
capacity is written to flash and read back over one link, and a slice waits for what it needs.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tmtrain.evaluation.cost import costs_of
from tmtrain.evaluation.fate_record import FateGroup, FateRecord, FateSeries, save_fates
from tmtrain.evaluation.monitored import (
    MONITOR_SCHEMA,
    MONITORED,
    PERFECT,
    STATIC,
    Contender,
    DisturbedStep,
    MonitoredRun,
    MonitorRecord,
    Strike,
)
from tmtrain.evaluation.record_file import write_record
from tmtrain.evaluation.row import SCHEMA, Bounds, Results, Row, WallClock
from tmtrain.evaluation.sensitivity import SENSITIVITY_SCHEMA, Case, Sensitivity
from tmtrain.machine import DEFAULT_MACHINE, load_machine
from tmtrain.reporting.results import MONITOR, RESULTS, SENSITIVITY
from tmtrain.reporting.section import ALL_FAST, OURS, PAGING, Section, sections_of
from tmtrain.simulation.file import save_result
from tmtrain.simulation.power import power_over_time
from tmtrain.simulation.result import Conservation, Result, Series, Traffic
from tmtrain.trace.trace import Phase, Role

_EXCESS = {OURS: 1.0, "g10": 1.25, "lru": 1.9, PAGING: 3.4, ALL_FAST: 0.0}
"""Bytes that each toy policy moves, relative to the least possible."""
_MODELS = {"made-up-small": 1, "made-up-large": 5}
_BATCH = 4
_FRACTION = 0.125
_LINK_BYTES_PER_S = 20e9
_PAGE = 4096
_PROGRAM_J_PER_BYTE = 8e-10
_WORK_W = {"matrix": 70.0, "vector": 0.0, "sram": 0.0, "fast access": 20.0}
"""While a slice computes."""


@dataclass(frozen=True, slots=True)
class _Toy:
    """The step before any policy."""

    duration_s: np.ndarray
    phase: np.ndarray
    live_bytes: np.ndarray
    """Shape (slices, roles)."""

    @property
    def footprint_bytes(self) -> int:
        return int(self.live_bytes.sum(axis=1).max())


def example_result(policy: str, *, slices: int = 240, scale: int = 1) -> Result:
    """Run the toy step under one of its five policies.

    >>> result = example_result("lru")
    >>> result.bytes_in == int(result.traffic.bytes[~result.traffic.is_write].sum())
    True
    """
    toy = _toy(slices, scale)
    fast = toy.footprint_bytes if policy == ALL_FAST else _pages(_FRACTION * toy.footprint_bytes)
    total = toy.live_bytes.sum(axis=1)
    absent = np.minimum(np.maximum(total - 0.94 * fast, 0) * (_EXCESS[policy] > 0), total)
    moves = np.diff(absent, append=absent[:1]) * max(_EXCESS[policy], 1.0)
    traffic, start = _transfer(toy.duration_s, moves)
    end = start + toy.duration_s
    stall = start - np.concatenate(([0.0], end[:-1]))
    resident = np.floor(toy.live_bytes * ((total - absent) / total)[:, None]).astype(np.int64)
    in_flight = np.where(moves < 0, np.minimum(-moves, 0.05 * fast), 0).astype(np.int64)
    bytes_in, bytes_out = (int(traffic.bytes[traffic.is_write == out].sum()) for out in (False, True))
    series = Series(
        start_s=start,
        end_s=end,
        stall_s=stall,
        phase=toy.phase,
        resident_bytes=resident,
        in_flight_bytes=in_flight,
        work_j=np.outer(toy.duration_s, list(_WORK_W.values())),
    )
    return _result(policy, series, traffic, fast_bytes=fast, bytes_in=bytes_in, bytes_out=bytes_out, toy=toy)


def _result(
    policy: str,
    series: Series,
    traffic: Traffic,
    *,
    fast_bytes: int,
    bytes_in: int,
    bytes_out: int,
    toy: _Toy,
) -> Result:
    ideal_s, step_s = float(toy.duration_s.sum()), float(series.end_s[-1])
    return Result(
        policy=policy,
        machine="example",
        fast_bytes=fast_bytes,
        step_time_s=step_s,
        ideal_step_time_s=ideal_s,
        recompute_s=0.0,
        stall_s=float(series.stall_s.sum()),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        warm_up_steps=1,
        energy_by_component_j={
            **{name: watts * ideal_s for name, watts in _WORK_W.items() if watts},
            "fast background": 4e-10 * fast_bytes * step_s,
            "static": 90.0 * step_s,
            "flash read": 3e-10 * bytes_in,
            "flash write": _PROGRAM_J_PER_BYTE * bytes_out,
        },
        conservation=_conserved(series, fast_bytes=fast_bytes, moved_bytes=bytes_in),
        series=series,
        traffic=traffic,
    )


def _conserved(series: Series, *, fast_bytes: int, moved_bytes: int) -> Conservation:
    start_bytes = int(series.resident_bytes[0].sum())
    return Conservation(
        resident_start_bytes=start_bytes,
        in_bytes=moved_bytes,
        born_bytes=fast_bytes,
        left_bytes=moved_bytes,
        dead_bytes=fast_bytes,
        resident_end_bytes=start_bytes,
    )


def example_results() -> Results:
    """Make the rows of two toy models under all five policies, without run folders.

    >>> len(example_results().rows)
    10
    """
    return Results(
        schema=SCHEMA,
        rows=[row for model in _MODELS for row in _rows(model, _runs(model), kept=False)],
        refusals=[],
    )


def example_section() -> Section:
    """Make the section of the small toy model.

    >>> example_section().ours.policy
    'tmtrain'
    """
    return sections_of(example_results())[0]


def example_sensitivity() -> Sensitivity:
    """Make the sensitivity of every row of `example_results` to what it costs to program a byte.

    >>> example_sensitivity().cases[0].unit
    'J/B'
    """
    cases = [case for row in example_results().rows for case in _cases(row)]
    return Sensitivity(schema=SENSITIVITY_SCHEMA, cases=cases)


def example_monitored(model: str = "made-up-small") -> MonitoredRun:
    """Make steps of a toy model: in the small one the monitor saves what a slow flash costs, in the large one nothing.

    >>> example_monitored().strikes[0].label
    'flash x 0.5'
    """
    row = next(row for row in example_results().rows if (row.model, row.policy) == (model, OURS))
    watched_s, value_gain = (0.9, 0.08) if model == "made-up-small" else (0.9996, -1e-4)
    return MonitoredRun(
        model=model,
        batch=row.batch,
        machine=row.machine,
        budget_bytes=row.budget_bytes,
        fast_fraction=row.fast_fraction,
        objective=row.objective,
        jitter=0.05,
        seed=0,
        strikes=(Strike(label="flash x 0.5", first_step=4, last_step=7),),
        contenders=(_contender(STATIC, 1.0), _contender(MONITORED, watched_s), _contender(PERFECT, 0.8)),
        time_gain=1.0 - watched_s,
        value_gain=value_gain,
    )


def _contender(name: str, step_time_s: float) -> Contender:
    step = DisturbedStep(
        step_time_s=step_time_s,
        stall_s=step_time_s / 2,
        bytes_in=_PAGE,
        bytes_out=_PAGE,
        misses=0,
        missed_bytes=0,
        peak_bytes=_PAGE,
        value=step_time_s,
    )
    return Contender(
        name=name,
        step_time_s=step_time_s,
        stall_s=step_time_s / 2,
        value=step_time_s,
        misses=0,
        plans_adopted=int(name != STATIC),
        steps=(step,) * 12,
    )


def example_fates(model: str = "made-up-small") -> FateRecord:
    """Make the fates of a toy model: memory has a price where the toy exceeds its capacity.

    >>> example_fates().groups[0].role
    'activation'
    """
    toy = _toy(240, _MODELS[model])
    total = toy.live_bytes.sum(axis=1)
    absent = np.maximum(total - _FRACTION * toy.footprint_bytes, 0).astype(np.int64)
    recomputed = absent // 4
    kept = np.minimum(total, _FRACTION * toy.footprint_bytes).astype(np.int64)
    return FateRecord(
        unit="J",
        series=FateSeries(
            end_s=np.cumsum(toy.duration_s),
            phase=toy.phase,
            price_per_byte=np.where(absent > 0, 1e-11, 0.0),
            kept_bytes=kept,
            moved_bytes=absent - recomputed,
            recomputed_bytes=recomputed,
        ),
        groups=_groups(whole=int(absent.max())),
    )


def _groups(*, whole: int) -> tuple[FateGroup, ...]:
    return (
        FateGroup(
            role="activation",
            module="blocks.*.mlp",
            kept_bytes=0,
            moved_bytes=whole // 2,
            recomputed_bytes=whole // 4,
        ),
        FateGroup(
            role="parameter", module="blocks.*.mlp", kept_bytes=whole // 8, moved_bytes=0, recomputed_bytes=0
        ),
    )


def write_example(folder: Path) -> Path:
    """Write a whole evaluation folder (results, sensitivity, monitor, run bundles) and return it.

    >>> import tempfile
    >>> sorted(path.name for path in write_example(Path(tempfile.mkdtemp())).iterdir())
    ['monitor.json', 'results.json', 'runs', 'sensitivity.json']
    """
    rows: list[Row] = []
    for model in _MODELS:
        runs = _runs(model)
        rows += _rows(model, runs, kept=True)
        for result in runs:
            save_result(result, folder / _run_name(model, result.policy))
        save_fates(example_fates(model), folder / f"{_run_name(model, OURS)}.fates")
    results = Results(schema=SCHEMA, rows=rows, refusals=[])
    write_record(folder / RESULTS, results)
    write_record(folder / SENSITIVITY, example_sensitivity())
    monitored = MonitorRecord(schema=MONITOR_SCHEMA, runs=[example_monitored(model) for model in _MODELS])
    write_record(folder / MONITOR, monitored)
    return folder


def _toy(slices: int, scale: int) -> _Toy:
    t = np.arange(slices) / slices
    phase = np.select(
        [t < 0.36, t < 0.38, t < 0.88], [Phase.FORWARD, Phase.LOSS, Phase.BACKWARD], Phase.OPTIMIZER
    )
    gib = 2.0**30 * scale
    live = np.zeros((slices, len(Role)))
    live[:, Role.PARAMETER], live[:, Role.OPTIMIZER_STATE] = 0.9 * gib, 1.8 * gib
    live[:, Role.GRADIENT] = 0.9 * gib * np.clip(np.minimum((t - 0.38) / 0.5, (1 - t) / 0.1), 0, 1)
    live[:, Role.ACTIVATION] = 6 * gib * np.clip(np.minimum(t / 0.37, (0.88 - t) / 0.5), 0, 1)
    live[:, Role.TEMPORARY] = 0.05 * gib * (1 + np.sin(200 * t))
    duration = scale * 0.36 * (1.2 + np.sin(0.7 * np.arange(slices))) / slices
    return _Toy(duration, phase.astype(np.int8), live)


def _transfer(duration_s: np.ndarray, moves: np.ndarray) -> tuple[Traffic, np.ndarray]:
    """Send `moves` (bytes per slice; out positive, in negative) over the link; return when slices start."""
    start, rows, now, link = np.empty(len(duration_s)), [], 0.0, 0.0
    for t, move in enumerate(moves.tolist()):
        size = _pages(abs(move))
        if size:
            begin = max(link, now) if move > 0 else max(link, now - 0.02)
            link = begin + size / _LINK_BYTES_PER_S
            rows.append((begin, link, move > 0, size, t))
        start[t] = max(now, link)
        now = start[t] + duration_s[t]
    columns = [np.array(column) for column in zip(*rows, strict=True)] or [np.zeros(0)] * 5
    begin, end, is_write, size, extent = columns
    return Traffic(
        start_s=begin,
        end_s=end,
        is_write=is_write.astype(bool),
        bytes=size.astype(np.int64),
        extent=extent.astype(np.int32),
    ), start


def _runs(model: str) -> list[Result]:
    return [example_result(policy, scale=_MODELS[model]) for policy in _EXCESS]


def _rows(model: str, runs: list[Result], *, kept: bool) -> list[Row]:
    footprint = next(result.fast_bytes for result in runs if result.policy == ALL_FAST)
    ours = next(result for result in runs if result.policy == OURS)
    bounds = Bounds(
        energy_j=0.96 * ours.energy_j, time_s=0.9 * ours.step_time_s, traffic_bytes=0.97 * ours.traffic_bytes
    )
    return [
        _row(model, result, footprint=footprint, budget=ours.fast_bytes, bounds=bounds, kept=kept)
        for result in runs
    ]


def _row(model: str, result: Result, *, footprint: int, budget: int, bounds: Bounds, kept: bool) -> Row:
    assert bounds.energy_j is not None
    has_flash = result.policy != ALL_FAST
    machine = load_machine(DEFAULT_MACHINE)  # for its prices and endurance
    costs = costs_of(result, footprint_bytes=footprint, machine=machine, has_flash=has_flash)
    moving_j = sum(result.energy_by_component_j[name] for name in ("flash read", "flash write"))
    return Row(
        model=model,
        batch=_BATCH,
        machine=result.machine,
        policy=result.policy,
        objective="energy",
        budget_bytes=budget,
        fast_bytes=result.fast_bytes,
        fast_fraction=result.fast_bytes / footprint,
        footprint_bytes=footprint,
        step_time_s=result.step_time_s,
        ideal_step_time_s=result.ideal_step_time_s,
        recompute_s=0.0,
        stall_s=result.stall_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
        traffic_bytes=result.traffic_bytes,
        energy_j=result.energy_j,
        energy_by_component_j=result.energy_by_component_j,
        transfer_energy_share=moving_j / result.energy_j,
        samples_per_s=_BATCH / result.step_time_s,
        samples_per_j=_BATCH / result.energy_j,
        memory_cost_usd=next(iter(costs.values())).usd,
        costs=costs,
        bound=bounds.energy_j,
        gap=result.energy_j / bounds.energy_j - 1,
        bounds=bounds,
        wall_clock=WallClock(capture_s=1.5, lower_s=0.25, plan_s=0.5, simulate_s=0.125),
        run=_run_name(model, result.policy) if kept else None,
        **_power(result),
        **_wear(result),
    )


def _power(result: Result) -> dict[str, float]:
    power = power_over_time(result)
    return {"average_power_w": power.average_w, "peak_power_w": power.peak_w}


def _wear(result: Result) -> dict[str, Any]:
    written = 1.02 * result.bytes_out
    years = 2e12 * 1e5 / written * result.step_time_s / 31557600 if written else None
    return {"bytes_written_per_step": written, "lifetime_years": years}


def _cases(row: Row) -> list[Case]:
    """Vary what a programmed byte costs: the energy follows exactly, traffic and time do not change."""
    values = (1.6e-10, 4e-10, _PROGRAM_J_PER_BYTE, 1.2e-9, 2.4e-9)
    energies = [row.energy_j + (value - _PROGRAM_J_PER_BYTE) * row.bytes_out for value in values]
    return [
        Case(
            model=row.model,
            machine=row.machine,
            fast_fraction=_FRACTION,
            policy=row.policy,
            constant="slow.program_energy_j_per_byte",
            unit="J/B",
            value=value,
            low=values[0],
            nominal=_PROGRAM_J_PER_BYTE,
            high=values[-1],
            traffic_bytes=row.traffic_bytes,
            step_time_s=row.step_time_s,
            energy_j=energy,
            samples_per_j=row.batch / energy,
        )
        for value, energy in zip(values, energies, strict=True)
    ]


def _run_name(model: str, policy: str) -> str:
    return f"runs/{model}.example.12.5%.{policy}"


def _pages(size: float) -> int:
    return int(size) // _PAGE * _PAGE
