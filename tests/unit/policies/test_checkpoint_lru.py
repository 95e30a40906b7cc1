"""Full checkpointing with LRU: it drops what blocks can recompute, and is no worse than the same model captured so."""

from dataclasses import replace
from functools import cache

import pytest

from tmtrain.capturing import StepOptions, capture_model
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine
from tmtrain.policies import make_policy
from tmtrain.policies.pagers.checkpoint_lru import CheckpointLru, checkpoint_all
from tmtrain.policies.pagers.lru import Lru
from tmtrain.simulation import Result, try_policy
from tmtrain.trace import Phase, Trace

MACHINE = load_machine("v4-slc")


SHAPE = StepOptions(batch=64, sequence=64)
"""Large enough for blocks."""


@cache
def _trace() -> Trace:
    return capture_model("gpt2-tiny", SHAPE)


def _timeline(trace: Trace, share: float = 0.3) -> Timeline:
    return lower(trace, machine=MACHINE, fast_bytes=int(share * _trace().footprint_bytes))


def _energy(policy: str, timeline: Timeline) -> Result:
    return try_policy(make_policy(policy), timeline, machine=MACHINE, objective="energy").result


def test_blocks_run_again_in_backward_from_last_to_first_but_for_the_last_one() -> None:
    timeline = _timeline(_trace())
    recomputations = checkpoint_all(timeline, holding=0.5)
    before = recomputations.before_slice
    assert len(set(before.tolist())) > 1
    assert (timeline.slices.phase[before] == Phase.BACKWARD).all()
    backward = timeline.slices.phase.tolist().index(Phase.BACKWARD)
    made = timeline.producers.op[timeline.producers.op_ptr[recomputations.producer]]
    assert (made[1:][before[1:] > before[:-1]] < made[:-1][before[1:] > before[:-1]]).all()
    assert before.min() > backward, "what backward needs first was made last"


def test_it_needs_less_memory_than_the_step_without() -> None:
    timeline = _timeline(_trace(), 0.5)
    decision = CheckpointLru().decide(timeline, machine=MACHINE)
    assert decision.recompute_s > 0
    plain, dropped = (
        try_policy(policy, timeline, machine=MACHINE).result for policy in (Lru(), CheckpointLru())
    )
    assert dropped.traffic_bytes == 0 < plain.traffic_bytes


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
def test_it_is_no_worse_than_the_model_captured_with_checkpoints(share: float) -> None:
    captured = capture_model("gpt2-tiny", replace(SHAPE, checkpointing="full"))
    theirs = _energy("lru", _timeline(captured, share))
    ours = _energy("checkpoint-lru", _timeline(_trace(), share))
    assert ours.energy_j <= theirs.energy_j
