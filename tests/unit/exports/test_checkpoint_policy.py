"""The checkpoint policy: its rules, its file, and its refusals."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.exported import gpt2_ledger
from tests.support.proposals import proposed
from torch.utils.checkpoint import CheckpointPolicy

from tmtrain.capturing import capture
from tmtrain.errors import FileFormatError, InputError
from tmtrain.exports import load_checkpoint_policy
from tmtrain.exports.checkpoint import make_checkpoint_policy
from tmtrain.exports.checkpoint_policy import LayerPolicy, SelectivePolicy, save_checkpoint_policy
from tmtrain.exports.layers import find_layers
from tmtrain.exports.ledger import open_ledger
from tmtrain.exports.live.checkpoint import PolicyFn, apply_checkpoint_policy
from tmtrain.lowering import lower
from tmtrain.machine import load_machine


def test_a_random_operator_is_kept_only_if_no_later_one_runs_again() -> None:
    """With the softmax and the tanh taken for random ones: both are kept in some layers of this plan and not in others."""
    ledger = gpt2_ledger("60%")
    operators = ledger.trace.operators
    random = np.array(
        [name in ("aten._safe_softmax.default", "aten.tanh.default") for name in operators.name]
    )
    operators = replace(operators, is_random=operators.is_random | random)
    policy = make_checkpoint_policy(replace(ledger, trace=replace(ledger.trace, operators=operators)))
    for layer in find_layers(ledger.trace):
        saved = _saved(policy, layer.path)
        kept = [
            (operators.name[op], call) in saved
            for op, call in zip(layer.ops, layer.calls, strict=True)
            if operators.is_random[op]
        ]
        assert kept == sorted(kept), "kept, then run again"
    assert policy.lost.random_bytes >= 0


def test_results_made_in_place_are_never_kept() -> None:
    for fast in ("30%", "60%"):
        policy = make_checkpoint_policy(gpt2_ledger(fast))
        for path in policy.layers:
            assert not {"aten.empty_like.default", "aten.bernoulli_.float", "aten.div_.Scalar"} & {
                name for name, _ in _saved(policy, path)
            }


def test_every_byte_is_counted_once() -> None:
    for fast in ("30%", "60%"):
        policy = make_checkpoint_policy(gpt2_ledger(fast))
        sums = [t.saved_bytes + t.offloaded_bytes + t.recomputed_bytes for t in (policy.plan, policy.policy)]
        assert sums[0] == sums[1] > 0
        assert policy.policy.rerun_flops > 0


def test_statistics_of_batch_norm_are_updated_once() -> None:
    """A batch norm that runs again would count its batch twice."""
    plain, wrapped = _normalised(), _normalised()
    policy = _normalised_policy()
    norm = "aten.native_batch_norm.default"
    assert any(norm not in layer.save for layer in policy.layers.values()), "the plan runs none of them again"
    apply_checkpoint_policy(wrapped[0], policy)
    losses: list[list[float]] = []
    for _, _, step in (plain, wrapped):
        torch.manual_seed(1)
        losses.append([step() for _ in range(3)])
    assert losses[0] == losses[1]
    for name, value in plain[0].state_dict().items():
        assert torch.equal(value, wrapped[0].state_dict()[name]), name


def test_a_step_with_checkpointing_is_refused() -> None:
    ledger = gpt2_ledger("60%")
    trace = replace(ledger.trace, options={"checkpointing": "full"})
    with pytest.raises(InputError, match="was captured with checkpointing"):
        make_checkpoint_policy(replace(ledger, trace=trace))


def test_a_policy_comes_back(tmp_path: Path) -> None:
    policy = make_checkpoint_policy(gpt2_ledger("30%"))
    save_checkpoint_policy(policy, tmp_path / "a.json")
    assert load_checkpoint_policy(tmp_path / "a.json") == policy


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"format": "other"}, "does not say format 'tmtrain-checkpoint-policy'"),
        ({"version": 99}, "update tmtrain"),
        ({"version": None}, "update tmtrain"),
        ({"fast_bytes": "much"}, "fast_bytes"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_policy_that_is_none_is_refused(tmp_path: Path, edit: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.json"
    save_checkpoint_policy(make_checkpoint_policy(gpt2_ledger("30%")), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | edit))
    with pytest.raises(FileFormatError, match=message):
        load_checkpoint_policy(path)


@pytest.mark.parametrize(
    ("save", "offload", "message"),
    [
        ([4], [], r"has 4 calls of aten\.addmm\.default, none of them is number 4"),
        ([-1], [], "none of them is number -1"),
        ([1], [1], r"both saves and offloads call 1 of aten\.addmm\.default"),
    ],
)
def test_calls_that_do_not_exist_are_refused(
    tmp_path: Path, save: list[int], offload: list[int], message: str
) -> None:
    path = tmp_path / "a.json"
    save_checkpoint_policy(make_checkpoint_policy(gpt2_ledger("30%")), path)
    record = json.loads(path.read_text())
    name = "aten.addmm.default"
    record["layers"]["transformer.h.1"] |= {"save": {name: save}, "offload": {name: offload}}
    path.write_text(json.dumps(record))
    with pytest.raises(FileFormatError, match=message):
        load_checkpoint_policy(path)


def test_text_that_is_no_json_and_nothing_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(FileFormatError, match="is not JSON"):
        load_checkpoint_policy(tmp_path / "a.json")
    with pytest.raises(InputError, match="could not read"):
        load_checkpoint_policy(tmp_path / "b.json")


def test_moved_results_go_to_the_cpu_where_that_is_asked_for() -> None:
    layer = LayerPolicy(
        calls={"aten.mm.default": 3}, save={"aten.mm.default": (0,)}, offload={"aten.mm.default": (1,)}
    )
    mm = torch.ops.aten.mm.default
    eager, compiled = (PolicyFn(layer, path="0", offload=offload) for offload in ("save", "cpu"))
    kept, again = CheckpointPolicy.MUST_SAVE, CheckpointPolicy.PREFER_RECOMPUTE
    assert [eager(None, mm) for _ in range(3)] == [kept, kept, again]
    assert [compiled(None, mm) for _ in range(3)] == [kept, CheckpointPolicy.MUST_CPU_OFFLOAD, again]
    assert eager(None, torch.ops.aten.detach.default) == again
    assert eager(None, torch.ops.prim.device.default) == again


def test_an_unknown_operator_is_refused_and_a_known_foreign_one_obeys() -> None:
    foreign = "flash.attention.default"
    layer = LayerPolicy(calls={foreign: 1}, save={foreign: (0,)}, offload={})
    decide = PolicyFn(layer, path="0")
    assert decide(None, "collective.wait.default") == CheckpointPolicy.PREFER_RECOMPUTE
    assert decide(None, foreign) == CheckpointPolicy.MUST_SAVE
    with pytest.raises(InputError, match=r"'0' calls aten\.mm\.default more often"):
        decide(None, torch.ops.aten.mm.default)


def _saved(policy: SelectivePolicy, path: str) -> set[tuple[str, int]]:
    layer = policy.layers[path]
    return {
        (name, call) for part in (layer.save, layer.offload) for name, calls in part.items() for call in calls
    }


def _normalised() -> tuple[torch.nn.Module, torch.optim.Optimizer, Any]:
    torch.manual_seed(0)
    layers = [
        torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.BatchNorm1d(64), torch.nn.GELU(), torch.nn.Dropout(0.1)
        )
        for _ in range(6)
    ]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    data = torch.randn(256, 64)

    def step() -> float:
        optimizer.zero_grad()
        loss = model(data).square().mean()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return model, optimizer, step


def _normalised_policy() -> SelectivePolicy:
    model, optimizer, step = _normalised()
    step()
    with capture(model, optimizer, name="normalised", samples=256) as captured:
        step()
    machine = load_machine("v4-slc")
    fast_bytes = int(0.5 * captured.trace.footprint_bytes)
    timeline = lower(captured.trace, machine=machine, fast_bytes=fast_bytes)
    ours = proposed(timeline, machine=machine)
    return make_checkpoint_policy(open_ledger(ours, trace=captured.trace, timeline=timeline, machine=machine))


class _Noisy(torch.nn.Module):
    """Multiplies by random numbers that one operator makes, twice: what a fused dropout does on an accelerator."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.nn.functional.gelu(self.first(x))
        x = x * torch.bernoulli(torch.full_like(x, 0.9))
        x = torch.nn.functional.gelu(self.second(x))
        return x * torch.bernoulli(torch.full_like(x, 0.9))


def _noisy_losses(layers: dict[str, LayerPolicy]) -> list[float]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(_Noisy() for _ in range(3)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)
    data = torch.randn(256, 64)
    empty = make_checkpoint_policy(gpt2_ledger("60%"))
    parts = {name: getattr(empty, name) for name in empty.__struct_fields__} | {"layers": layers}
    apply_checkpoint_policy(model, SelectivePolicy(**parts))
    losses: list[float] = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = model(data).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def _keeping(*calls: int) -> dict[str, LayerPolicy]:
    names = {"t": 2, "addmm": 2, "gelu": 2, "full_like": 2, "bernoulli": 2}
    counts = {f"aten.{name}.default": number for name, number in names.items()} | {"aten.mul.Tensor": 2}
    layer = LayerPolicy(calls=counts, save={"aten.bernoulli.default": calls}, offload={})
    return {str(i): layer for i in range(3)}


def test_why_a_random_result_is_not_kept_before_one_that_is_drawn_again() -> None:
    """Torch does not draw what was kept, so what follows would be drawn from another state of the generator."""
    plain = _noisy_losses({})
    for allowed in ((), (1,), (0, 1)):
        assert _noisy_losses(_keeping(*allowed)) == plain
    assert _noisy_losses(_keeping(0)) != plain
