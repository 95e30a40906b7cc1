"""Large steps that mostly wait for the link: what the engine measures is what the programme promises."""

import pytest

from tmtrain import capture_model, load_machine, lower, plan


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["energy", "time"])
@pytest.mark.parametrize("model", ["gpt3-175b", "llama-2-7b"])
def test_the_measured_gap_of_a_step_that_mostly_waits(model: str, objective: str) -> None:
    """Nine tenths of such a step is waiting: the schedule has to know how long a slice lasts with it."""
    trace, machine = capture_model(model), load_machine("v4-slc")
    timeline = lower(trace, machine=machine, fast_bytes=int(0.125 * trace.footprint_bytes))
    proof = plan(timeline, machine=machine, objective=objective).certificate
    assert proof is not None
    assert proof.gap is not None
    assert proof.gap <= 0.005
