"""A user's own profile shows what is ours, and profiling changes no step."""

from pathlib import Path

import torch
from tests.support.trainings import small_training
from torch.profiler import ProfilerActivity, profile

from tmtrain import train
from tmtrain.runtime.dispatch import scopes

MIB = 1 << 20
STEPS = 3


def test_a_profile_shows_what_is_ours_by_name(tmp_path: Path) -> None:
    plain = small_training("gpt2")
    expected = plain.digest([plain.step(plain.batches(number)) for number in range(STEPS)])
    small = small_training("gpt2")
    with train(
        small.model, small.optimizer, small.step, budget_bytes=5 * MIB, flash=tmp_path, objective="bytes"
    ) as training:
        losses = [training.step(small.batches(0))]
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            losses += [training.step(small.batches(number)) for number in range(1, STEPS)]
            training.save(tmp_path / "saved.safetensors")
            training.load(tmp_path / "saved.safetensors")
        hows = [step.how for step in training.result.steps]
    counts = {event.key: event.count for event in profiled.key_averages()}
    assert [counts.get(name) for name in (scopes.RECORD, scopes.SAVE, scopes.LOAD)] == [1, 1, 1]
    assert counts[scopes.PLAN] >= 1  # again, where profiling makes the step slower than was planned for
    assert counts[scopes.BRING_IN] > 100
    assert counts[scopes.MAKE_ROOM] > 100
    assert counts[scopes.RECOMPUTE] > 0
    assert hows == ["on demand", "on demand", "planned"]
    assert small.digest(losses) == expected


def test_without_a_profiler_nothing_is_marked() -> None:
    assert scopes.scope(scopes.PLAN) is scopes.scope(scopes.RECORD)
    with profile(activities=[ProfilerActivity.CPU]):
        assert isinstance(scopes.scope(scopes.PLAN), torch.profiler.record_function)
