"""`evaluate` over a tiny model at two capacities: what it leaves in its folder, and that the numbers agree."""

import json
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from tests.support.simulated import BASIC_POLICIES as POLICIES
from tests.support.thoroughness import rest_slow

from tmtrain.deciding import Decision
from tmtrain.errors import PolicyError
from tmtrain.evaluation import (
    SCHEMA,
    SENSITIVITY_SCHEMA,
    Case,
    Results,
    Row,
    Sensitivity,
    Study,
    evaluate,
    make_setting,
    run_policy,
    trace_of,
)
from tmtrain.evaluation.fate_record import load_fates
from tmtrain.evaluation.part import SENSITIVITY_POLICIES
from tmtrain.evaluation.sensitivity import KNOBS, sweep
from tmtrain.lowering.energy import COMPONENTS, TRANSFER_COMPONENTS
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, list_machines, load_machine, value_of
from tmtrain.plans.file import load_plan
from tmtrain.policies.pagers.lru import Lru
from tmtrain.simulation import load_result
from tmtrain.units import FastCapacity

FRACTIONS = (0.125, 0.5)
STUDY = Study(
    models=("gpt2-tiny",),
    fasts=tuple(FastCapacity(fraction=fraction) for fraction in FRACTIONS),
    policies=POLICIES,
)


@pytest.fixture(scope="module")
def progress() -> list[str]:
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, progress: list[str]) -> Path:
    out = tmp_path_factory.mktemp("study") / "made" / "by evaluate"
    evaluate(STUDY, out=out, tell=progress.append)
    return out


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    results = msgspec.json.decode((folder / "results.json").read_bytes(), type=Results, strict=True)
    assert results.schema == SCHEMA
    return results.rows


@pytest.fixture(scope="module")
def cases(folder: Path) -> list[Case]:
    sensitivity = msgspec.json.decode((folder / "sensitivity.json").read_bytes(), type=Sensitivity)
    assert sensitivity.schema == SENSITIVITY_SCHEMA
    return sensitivity.cases


def test_there_is_a_row_for_every_policy_at_every_capacity(rows: list[Row]) -> None:
    assert [row.policy for row in rows] == [*POLICIES, *POLICIES]
    assert {(row.model, row.machine, row.objective) for row in rows} == {("gpt2-tiny", "v4-slc", "energy")}
    for row, fraction in zip(rows, np.repeat(FRACTIONS, len(POLICIES)), strict=True):
        if row.policy != "all-fast":
            assert row.fast_bytes == int(fraction * row.footprint_bytes) // 4096 * 4096
        assert row.fast_fraction == row.fast_bytes / row.footprint_bytes


def test_the_file_has_the_documented_fields_and_no_others(folder: Path) -> None:
    raw = json.loads((folder / "results.json").read_text())
    assert set(raw) == {"schema", "rows", "refusals", "digest"}
    assert raw["refusals"] == []
    for row in raw["rows"]:
        assert list(row) == [field.name for field in fields(Row)]


def test_the_numbers_of_a_row_agree(rows: list[Row]) -> None:
    machine = load_machine("v4-slc")
    for row in rows:
        assert row.traffic_bytes == row.bytes_in + row.bytes_out
        assert row.step_time_s == pytest.approx(row.ideal_step_time_s + row.recompute_s + row.stall_s)
        assert tuple(row.energy_by_component_j) == COMPONENTS
        assert row.energy_j == pytest.approx(sum(row.energy_by_component_j.values()), rel=1e-12)
        assert row.samples_per_s * row.step_time_s == pytest.approx(row.batch)
        assert row.samples_per_j * row.energy_j == pytest.approx(row.batch)
        assert row.gap == pytest.approx(row.energy_j / row.bound - 1)
        assert row.bound == row.bounds.energy_j
        assert row.bytes_written_per_step == pytest.approx(1.02 * row.bytes_out)
        flash = 0 if row.policy == "all-fast" else row.footprint_bytes
        price = machine.prices["2025Q3"]
        assert row.memory_cost_usd == pytest.approx(
            row.fast_bytes * price.fast_usd_per_byte + flash * price.slow_usd_per_byte
        )
        assert list(row.costs) == list(machine.prices)
        assert row.memory_cost_usd == row.costs["2025Q3"].usd
        if row.policy == "all-fast":
            assert all(cost.break_even_fast_usd_per_byte is None for cost in row.costs.values())
        assert row.average_power_w * row.step_time_s == pytest.approx(row.energy_j, rel=1e-9)
        assert row.peak_power_w > row.average_power_w
        moving = sum(row.energy_by_component_j[name] for name in TRANSFER_COMPONENTS)
        assert row.transfer_energy_share == pytest.approx(moving / row.energy_j)
        written_per_year = row.bytes_written_per_step / row.step_time_s * 365 * 86400
        if row.bytes_out:
            assert row.lifetime_years == pytest.approx(2.048e12 * 100_000 / written_per_year)
        else:
            assert row.lifetime_years is None


def test_nothing_beats_the_bounds_but_what_has_all_the_memory(rows: list[Row]) -> None:
    for row in rows:
        if row.policy == "all-fast":
            assert row.gap < 0
            assert row.traffic_bytes == 0
            continue
        assert row.gap >= 0
        assert row.step_time_s >= row.bounds.time_s
        assert row.traffic_bytes >= row.bounds.traffic_bytes


def test_ours_is_first_at_either_capacity(rows: list[Row]) -> None:
    for at in (rows[: len(POLICIES)], rows[len(POLICIES) :]):
        tiered = {row.policy: row.energy_j for row in at if row.policy != "all-fast"}
        assert tiered["tmtrain"] == min(tiered.values())


def test_more_fast_memory_never_costs_bytes(rows: list[Row]) -> None:
    bounds = [rows[i].bounds for i in (0, len(POLICIES))]
    assert bounds[0].traffic_bytes > bounds[1].traffic_bytes


def test_the_wall_clock_of_every_stage_is_told(rows: list[Row]) -> None:
    assert all(row.wall_clock.capture_s > 0 and row.wall_clock.lower_s > 0 for row in rows)
    assert all(row.wall_clock.simulate_s > 0 and row.wall_clock.plan_s >= 0 for row in rows)


def test_the_run_of_every_row_can_be_loaded_and_is_that_row(folder: Path, rows: list[Row]) -> None:
    assert len({row.run for row in rows}) == len(rows)
    for row in rows:
        assert row.run is not None
        result = load_result(folder / row.run)
        assert (result.policy, result.fast_bytes, result.bytes_in, result.bytes_out) == (
            row.policy,
            row.fast_bytes,
            row.bytes_in,
            row.bytes_out,
        )
        assert (result.step_time_s, result.energy_j) == (row.step_time_s, row.energy_j)


def test_nothing_else_is_left(folder: Path, rows: list[Row]) -> None:
    assert sorted(p.name for p in folder.iterdir()) == [
        "monitor.json",
        "results.json",
        "runs",
        "sensitivity.json",
    ]
    kept = {str(row.run) for row in rows}
    ours = {str(row.run) for row in rows if row.policy in ("tmtrain", "tmtrain-move")}
    beside = {f"{run}.{kind}" for run in ours for kind in ("plan", "fates")}
    assert {f"runs/{p.name}" for p in (folder / "runs").iterdir()} == kept | beside


def test_the_fates_beside_a_run_are_those_of_its_plan(folder: Path, rows: list[Row]) -> None:
    for row in rows:
        if row.policy == "tmtrain":
            record, plan = load_fates(folder / f"{row.run}.fates"), load_plan(folder / f"{row.run}.plan")
            assert plan.certificate is not None
            price = plan.certificate.bound.capacity_price.sum() / 4096
            assert record.series.price_per_byte.sum() == pytest.approx(price)
            assert any(group.recomputed_bytes for group in record.groups) == bool(len(plan.recomputations))


def test_progress_is_told_before_each_piece_of_work(folder: Path, progress: list[str]) -> None:
    assert progress[0] == "gpt2-tiny: capture"
    assert progress[1] == "gpt2-tiny on v4-slc with 0.125 fast: plan and bound"
    assert progress[2] == "gpt2-tiny on v4-slc with 0.125 fast: all-fast"
    # And two studies of the first capacity: sensitivity and the timing monitor.
    assert len(progress) == 1 + 2 * (1 + len(POLICIES)) + 2


@pytest.mark.parametrize(
    ("objective", "of"),
    rest_slow([("time", "step_time_s"), ("bytes", "traffic_bytes"), ("writes", "bytes_out")]),
)
def test_the_gap_is_that_of_the_objective(objective: str, of: str) -> None:
    setting = make_setting(
        trace_of("gpt2-tiny"),
        machine=load_machine("v4-slc"),
        fast=FastCapacity(fraction=0.3),
        objective=objective,
    )
    row = run_policy(setting, "tmtrain").row
    assert row.gap == pytest.approx(getattr(row, of) / row.bound - 1)
    assert row.gap >= 0
    assert row.run is None


def test_flash_that_is_never_written_has_no_lifetime() -> None:
    setting = make_setting(
        trace_of("gpt2-tiny"),
        machine=load_machine("v4-slc"),
        fast=FastCapacity(fraction=0.3),
        objective="energy",
    )
    assert run_policy(setting, "all-fast").row.lifetime_years is None
    assert run_policy(setting, "lru").row.lifetime_years is not None


QUESTIONED = tuple(policy for policy in SENSITIVITY_POLICIES if policy in POLICIES)
"""By a study of the default policies."""


class _Choosy(Lru):
    """Refuses flash that is faster than the default machine's."""

    name = "choosy"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        if machine.read_bytes_per_s > load_machine("v4-slc").read_bytes_per_s:
            raise PolicyError("too fast")
        return super().decide(timeline, machine=machine)


def test_who_refuses_a_value_of_a_constant_is_left_out_with_that_constant() -> None:
    setting = make_setting(
        trace_of("gpt2-tiny"),
        machine=load_machine("v4-slc"),
        fast=FastCapacity(fraction=0.125),
        objective="energy",
        bounded=(),
    )
    with (
        patch("tmtrain.evaluation.compare.make_policy", return_value=_Choosy()),
        patch("tmtrain.evaluation.sensitivity.make_policy", return_value=_Choosy()),
    ):
        cases = sweep(setting, nominal={"choosy": run_policy(setting, "choosy")})
    assert {case.constant for case in cases} == {knob.name for knob in KNOBS} - {"flash bandwidth"}


@pytest.fixture(scope="module")
def flowing() -> list[Case]:
    """On a link without latency: of a step as tiny as this it makes half, and no plan foresees it."""
    machine = load_machine("v4-slc")
    machine = replace(machine, slow=replace(machine.slow, read_latency_s=0.0, write_latency_s=0.0))
    setting = make_setting(
        trace_of("gpt2-tiny"), machine=machine, fast=FastCapacity(fraction=0.125), objective="energy"
    )
    return sweep(setting, nominal={policy: run_policy(setting, policy) for policy in QUESTIONED})


class TestSensitivity:
    def test_every_knob_is_turned_for_every_policy_with_the_nominal_value_among_the_points(
        self, cases: list[Case], rows: list[Row]
    ) -> None:
        machine = load_machine("v4-slc")
        nominal_rows = {row.policy: row for row in rows[: len(POLICIES)]}
        for knob in KNOBS:
            for policy in QUESTIONED:
                turned = [c for c in cases if (c.constant, c.policy) == (knob.name, policy)]
                values = [case.value for case in turned]
                assert values == sorted(set(values))
                assert len(values) >= knob.steps
                nominal = value_of(machine, path=knob.paths[0])
                (at_nominal,) = (case for case in turned if case.value == nominal == case.nominal)
                row = nominal_rows[policy]
                assert (at_nominal.energy_j, at_nominal.traffic_bytes, at_nominal.step_time_s) == (
                    row.energy_j,
                    row.traffic_bytes,
                    row.step_time_s,
                )
                assert (values[0], values[-1]) == pytest.approx((turned[0].low, turned[0].high))
        assert len({(c.constant, c.policy) for c in cases}) == len(KNOBS) * len(QUESTIONED)

    @pytest.mark.parametrize("policy", QUESTIONED)
    @pytest.mark.parametrize("knob", [knob.name for knob in KNOBS])
    def test_dearer_is_never_better_and_faster_never_worse(
        self, flowing: list[Case], knob: str, policy: str
    ) -> None:
        samples_per_j = [c.samples_per_j for c in flowing if (c.constant, c.policy) == (knob, policy)]
        ups = samples_per_j if knob == "flash bandwidth" else samples_per_j[::-1]
        # Ours plans anew for each value, by predicted joules.
        slack = 1e-3 if policy == "tmtrain" else 1e-9
        assert all(b >= a * (1 - slack) for a, b in pairwise(ups))
        assert ups[-1] > ups[0]

    @pytest.mark.parametrize("name", list_machines())
    def test_flash_is_never_tried_faster_than_fast_memory(self, name: str) -> None:
        machine = load_machine(name)
        for knob in KNOBS:
            low, high = knob.range_on(machine)
            assert low <= value_of(machine, path=knob.paths[0]) <= high
        bandwidth = next(knob for knob in KNOBS if knob.name == "flash bandwidth")
        assert bandwidth.range_on(machine)[1] <= machine.fast.bandwidth_bytes_per_s

    def test_rivals_move_the_same_whatever_it_costs(self, cases: list[Case]) -> None:
        energies = [c for c in cases if c.constant != "flash bandwidth" and c.policy != "tmtrain"]
        for policy in ("lru", "belady"):
            assert len({(c.traffic_bytes, c.step_time_s) for c in energies if c.policy == policy}) == 1
