"""What the planner makes passes the checker, and the bound is the same number from two implementations."""

import random
from collections.abc import Callable

import pytest
from tests.support.instances import crowded_timeline, middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.row_steps import lowered, random_step, row_machine, trace_of
from tests.support.thoroughness import rest_slow, seeds
from tests.support.traces import tiny_trace

from tmtrain.checking import check_plan
from tmtrain.checking.bound.bound import proved_bound
from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.residency import follow_transfers
from tmtrain.checking.walk import walk
from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import load_machine
from tmtrain.units import parse_fast

OBJECTIVES = ("energy", "time", "bytes", "writes")


@pytest.mark.parametrize("objective", [*OBJECTIVES, "energy:1,time:0.5"])
def test_plans_with_recomputations(objective: str) -> None:
    recomputed = 0
    for seed in seeds(30):
        step, machine = random_step(seed), row_machine(seed=seed, pages_per_s=(0.3, 1.0, 4.0)[seed % 3])
        timeline = lowered(step, machine=machine, spare_pages=seed % 4)
        result = proposed(timeline, machine=machine, objective=objective)
        report = check_plan(trace_of(step), result, machine=machine, slice_share=1.0)
        assert report.ok, (seed, report.violations)
        assert report.bound == pytest.approx(report.stored_bound, rel=1e-9, abs=1e-9)
        recomputed += len(result.recomputations) > 0
    assert recomputed >= len(seeds(30)) // (5 if objective != "time" else 15)


@pytest.mark.parametrize("make", [crowded_timeline, middle_timeline])
def test_plans_that_keep_and_move(make: Callable[[int], Timeline]) -> None:
    for seed in seeds(20):
        timeline, machine = make(seed), narrow_machine(seed)
        objective = random.Random(seed).choice(OBJECTIVES)
        result, walked, findings = (
            proposed(timeline, machine=machine, objective=objective),
            walk(timeline),
            Findings(),
        )
        moved = follow_transfers(timeline, walked, result.transfers, findings=findings)
        assert not findings.violations, seed
        assert moved.pages_in * timeline.page_bytes == result.prediction.bytes_in
        assert moved.pages_out * timeline.page_bytes == result.prediction.bytes_out
        assert moved.peak_pages <= timeline.fast_pages
        assert result.certificate is not None
        bound = proved_bound(timeline, walked, result.certificate, machine=machine)
        assert bound == pytest.approx(result.certificate.bound.value, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("recompute", [True, False])
@pytest.mark.parametrize("name", rest_slow(["gpt2-tiny", "foreach", "bert", "resnet"], quick=2))
def test_plans_of_captured_steps(name: str, recompute: bool) -> None:
    trace, machine = tiny_trace(name), load_machine("znvme-g10")
    fast = parse_fast("50%").of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    result = proposed(lower(trace, machine=machine, fast_bytes=fast), machine=machine, recompute=recompute)
    report = check_plan(trace, result, machine=machine)
    assert report.ok, report.violations
    assert report.bound == pytest.approx(report.stored_bound, rel=1e-9)


@pytest.mark.parametrize("share", rest_slow(["90%", "80%"]))
def test_a_whole_recompute_of_a_batch_norm_reads_its_statistics(share: str) -> None:
    """Were they recomputed, two pages would be free for longer than the class allows, and the plan below its bound."""
    trace, machine = tiny_trace("resnet"), load_machine("v4-slc")
    fast = parse_fast(share).of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast)
    result = proposed(timeline, machine=machine, objective="bytes")
    assert len(result.recomputations)
    assert not check_plan(trace, result, machine=machine).violations
