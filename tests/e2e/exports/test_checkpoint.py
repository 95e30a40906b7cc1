"""A checkpoint policy on a real GPT-2: the same bits, and just the activations kept that it names."""

from collections import Counter

import numpy as np
import pytest
import torch
from tests.support.exported import LAYERS, Training, capture_step, gpt2, gpt2_ledger

from tmtrain.errors import InputError
from tmtrain.exports import SelectivePolicy
from tmtrain.exports.checkpoint import make_checkpoint_policy
from tmtrain.exports.checkpoint_policy import LayerPolicy
from tmtrain.exports.layers import find_layers
from tmtrain.exports.live.checkpoint import apply_checkpoint_policy
from tmtrain.trace import Phase, Role, Trace

SHARES = ("30%", "60%")


def _policy(fast: str) -> SelectivePolicy:
    return make_checkpoint_policy(gpt2_ledger(fast))


def _train(training: Training, *, steps: int = 3) -> tuple[list[float], list[torch.Tensor]]:
    torch.manual_seed(1)
    losses = [training.step() for _ in range(steps)]
    state = [value for entry in training.optimizer.state.values() for value in entry.values()]
    return losses, [*training.model.state_dict().values(), *state]


@pytest.mark.parametrize("fast", SHARES)
def test_training_is_the_same_bit_for_bit(fast: str) -> None:
    plain, wrapped = gpt2(), gpt2()
    apply_checkpoint_policy(wrapped.model, _policy(fast))
    (losses, tensors), (same_losses, same_tensors) = _train(plain), _train(wrapped)
    assert losses == same_losses
    assert all(torch.equal(a, b) for a, b in zip(tensors, same_tensors, strict=True))


@pytest.mark.parametrize("fast", SHARES)
def test_an_edited_policy_gives_the_same_bits_too(fast: str) -> None:
    """Keep all matrix products and nothing else: numbers drawn again must still be the same."""
    policy = _policy(fast)
    keeping = {
        path: LayerPolicy(
            calls=layer.calls,
            save={"aten.addmm.default": tuple(range(layer.calls["aten.addmm.default"]))},
            offload={},
        )
        for path, layer in policy.layers.items()
    }
    plain, wrapped = gpt2(), gpt2()
    apply_checkpoint_policy(wrapped.model, _with_layers(policy, keeping))
    assert _train(plain)[0] == _train(wrapped)[0]


@pytest.mark.parametrize("fast", SHARES)
def test_what_lives_from_forward_to_backward_is_what_the_policy_saves(fast: str) -> None:
    policy, trace = _policy(fast), _trace_under(_policy(fast))
    for layer in find_layers(trace):
        wanted = policy.layers[layer.path]
        alive = {
            (trace.operators.name[op], call)
            for op, call in zip(layer.ops, layer.calls, strict=True)
            if _lives_into_backward(trace, op)
        }
        named = {
            (name, call)
            for part in (wanted.save, wanted.offload)
            for name, calls in part.items()
            for call in calls
        }
        # The last layer's output is the input of what follows, which is not checkpointed.
        assert alive - named <= {("aten.add.Tensor", wanted.calls["aten.add.Tensor"] - 1)}
        assert named <= alive


@pytest.mark.parametrize("fast", SHARES)
def test_what_is_not_saved_runs_again_and_nothing_else(fast: str) -> None:
    policy, trace = _policy(fast), _trace_under(_policy(fast))
    again, plain = _products_in_backward(trace), _products_in_backward(_trace_under(_with_layers(policy, {})))
    extra = again - plain
    for path, layer in policy.layers.items():
        saved = len(layer.save.get("aten.addmm.default", ())) + len(
            layer.offload.get("aten.addmm.default", ())
        )
        # torch stops as soon as it has all that backward asks for: the last product of a layer may be spared.
        assert (
            layer.calls["aten.addmm.default"] - saved - 1
            <= extra[path]
            <= layer.calls["aten.addmm.default"] - saved
        )


def test_bytes_kept_are_those_that_the_policy_counts() -> None:
    policy, trace = _policy("30%"), _trace_under(_policy("30%"))
    plain = _trace_under(_with_layers(policy, {}))
    total = policy.policy.saved_bytes + policy.policy.offloaded_bytes + policy.policy.recomputed_bytes
    assert abs(_activation_bytes(plain) - total) <= 0.02 * total
    kept = policy.policy.saved_bytes + policy.policy.offloaded_bytes
    assert abs(_activation_bytes(trace) - kept) <= 0.05 * total


@pytest.mark.parametrize("fast", SHARES)
def test_rounding_meets_the_plan_on_average(fast: str) -> None:
    ledger, policy = gpt2_ledger(fast), _policy(fast)
    split = ledger.over(ledger.gaps_between((Phase.FORWARD, Phase.LOSS), (Phase.BACKWARD,)))
    index = {name: i for i, name in enumerate(ledger.trace.storages.name)}
    layers = [layer for layer in find_layers(ledger.trace) if layer.path in policy.layers]
    checked = 0
    for number, op in enumerate(layers[0].ops):
        name, call = ledger.trace.operators.name[op], layers[0].calls[number]
        if name != "aten.addmm.default" or split.pages[index[f"addmm#{op}.0"]] == 0:
            continue
        rows = [index[f"addmm#{layer.ops[number]}.0"] for layer in layers]
        wanted = sum(1 - split.recomputed[row] / split.pages[row] for row in rows)
        chosen = [policy.layers[layer.path] for layer in layers]
        kept = sum(call in (*layer.save.get(name, ()), *layer.offload.get(name, ())) for layer in chosen)
        assert abs(kept - wanted) <= 0.5
        checked += 1
    assert checked


def test_a_model_that_runs_otherwise_is_refused() -> None:
    training, policy = gpt2(), _policy("60%")
    first = next(iter(policy.layers.values()))
    short = LayerPolicy(calls=first.calls | {"aten.tanh.default": 0}, save={}, offload={})
    apply_checkpoint_policy(training.model, _with_layers(policy, {"transformer.h.0": short}))
    with pytest.raises(
        InputError, match=r"'transformer\.h\.0' calls aten\.tanh\.default more often .*\(0 times\)"
    ):
        training.step()


def test_a_module_that_is_missing_is_named_and_nothing_is_wrapped() -> None:
    training, policy = gpt2(), _policy("60%")
    layer = policy.layers["transformer.h.0"]
    with pytest.raises(InputError, match=r"'transformer\.h\.99', which GPT2LMHeadModel lacks"):
        apply_checkpoint_policy(
            training.model, _with_layers(policy, {"transformer.h.0": layer, "transformer.h.99": layer})
        )
    apply_checkpoint_policy(training.model, policy)
    with pytest.raises(InputError, match="has a checkpoint policy already"):
        apply_checkpoint_policy(training.model, policy)


def _with_layers(policy: SelectivePolicy, layers: dict[str, LayerPolicy]) -> SelectivePolicy:
    return SelectivePolicy(**{f: getattr(policy, f) for f in policy.__struct_fields__} | {"layers": layers})


_TRACES: dict[int, Trace] = {}


def _trace_under(policy: SelectivePolicy) -> Trace:
    key = hash(tuple((path, str(layer)) for path, layer in policy.layers.items()))
    if key not in _TRACES:
        training = gpt2()
        apply_checkpoint_policy(training.model, policy)
        _TRACES[key] = capture_step(training)
        assert len(find_layers(_TRACES[key])) == LAYERS
    return _TRACES[key]


def _lives_into_backward(trace: Trace, op: int) -> bool:
    first = int(np.flatnonzero(trace.operators.phase == Phase.BACKWARD)[0])
    rows = np.flatnonzero((trace.operands.op == op) & trace.operands.allocates)
    return any(trace.storages.death_op[s] > first + 1 for s in trace.operands.storage[rows].tolist())


def _products_in_backward(trace: Trace) -> Counter[str]:
    """Count the forward products (addmm) that run in backward, by layer."""
    backward = np.flatnonzero(trace.operators.phase == Phase.BACKWARD).tolist()
    return Counter(
        ".".join(trace.operators.module[op].split(".")[:3])
        for op in backward
        if trace.operators.name[op] == "aten.addmm.default"
    )


def _activation_bytes(trace: Trace) -> int:
    """Add up what is made in forward and loss and lives on when backward begins."""
    first = int(np.flatnonzero(trace.operators.phase == Phase.BACKWARD)[0])
    s = trace.storages
    alive = (
        (s.birth_op < first)
        & (s.death_op > first)
        & ~s.persistent
        & np.isin(s.role, (Role.ACTIVATION, Role.TEMPORARY))
    )
    return int(s.bytes[alive].sum())
