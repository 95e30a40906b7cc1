"""Bytes of captured steps against what was published about training on accelerators."""

import numpy as np
import pytest

from tmtrain.capturing import StepOptions, ZooModel, capture_model
from tmtrain.capturing.fake import capture_zoo_model
from tmtrain.capturing.jobs.catalog import resolve_options
from tmtrain.capturing.jobs.options import Attention
from tmtrain.trace import Phase, Role, Trace

BATCH, HIDDEN = 2, 1024
LAYER = "transformer.h.1"
"""The middle one of three."""


def layers(heads: int, sequence: int, attention: Attention) -> Trace:
    model = ZooModel(
        name="layers",
        config="GPT2Config",
        task="CausalLM",
        batch=BATCH,
        sequence=sequence,
        fields={
            "n_layer": 3,
            "n_embd": HIDDEN,
            "n_head": heads,
            "n_positions": sequence,
            "vocab_size": 128,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    )
    return capture_zoo_model(model, resolve_options(model, StepOptions(attention=attention)))


def kept_for_backward(trace: Trace, module: str) -> int:
    """Bytes that `module` makes in forward and that are there when backward begins."""
    backward = int(np.flatnonzero(trace.operators.phase == Phase.BACKWARD)[0])
    s = trace.storages
    there = ~s.persistent & (s.birth_op < backward) & (backward < s.death_op)
    inside = np.array([path == module or path.startswith(f"{module}.") for path in s.module])
    return int(s.bytes[there & inside].sum())


SHAPES = [(16, 256), (16, 1024), (32, 2048)]
"""Heads and sequence: scores are 20, 80 and 320 of 54, 114 and 354."""


@pytest.mark.parametrize(("heads", "sequence"), SHAPES)
def test_a_layer_keeps_what_was_published(heads: int, sequence: int) -> None:
    """Korthikanti et al., "Reducing Activation Recomputation in Large Transformer Models" (2022), equation 1: 34 + 5as/h
    times sbh bytes with dropout, of which the 5as/h are scores. Theirs leaves out numbers per row (norms, log-sum-exp)."""
    sbh = sequence * BATCH * HIDDEN
    published = 34 + 5 * heads * sequence / HIDDEN
    eager, fused = (
        kept_for_backward(layers(heads, sequence, kind), LAYER) / sbh for kind in ("eager", "fused")
    )
    assert eager == pytest.approx(published, rel=0.01)
    assert fused == pytest.approx(34, rel=0.01)
    assert eager >= published
    assert fused >= 34


def states(trace: Trace) -> int:
    """Bytes of weights, gradients and optimizer state; a step's counter is one number per tensor."""
    s = trace.storages
    of_role = np.isin(s.role, (Role.PARAMETER, Role.GRADIENT, Role.OPTIMIZER_STATE))
    counters = np.array([name.endswith(".step") for name in s.name])
    return int(s.bytes[of_role & ~counters].sum())


@pytest.mark.parametrize(
    ("options", "bytes_per_parameter"),
    [
        (StepOptions(precision="bf16-mixed"), 16),
        (StepOptions(precision="bf16-mixed", optimizer="sgd"), 12),
        (StepOptions(precision="fp32"), 16),
        (StepOptions(precision="bf16"), 8),
    ],
    ids=["mixed", "mixed-sgd", "fp32", "bf16"],
)
def test_states_take_what_zero_counts(options: StepOptions, bytes_per_parameter: int) -> None:
    """Rajbhandari et al., "ZeRO" (2020), section 3.1: 2 + 2 + 12 bytes a parameter in mixed precision with Adam."""
    trace = capture_model("gpt2-tiny", options)
    count = int(trace.storages.bytes[trace.storages.role == Role.PARAMETER].sum())
    parameters = count // (4 if options.precision == "fp32" else 2)
    assert states(trace) == bytes_per_parameter * parameters


def test_a_gradient_is_cast_for_one_tensor_at_a_time() -> None:
    trace = capture_model("gpt2-tiny")
    s = trace.storages
    born = trace.operators.phase[np.minimum(s.birth_op, len(trace.operators) - 1)]
    casts = np.flatnonzero((born == Phase.OPTIMIZER) & (s.role == Role.TEMPORARY))
    assert len(casts) == int((s.role == Role.PARAMETER).sum())
    assert np.all(s.death_op[casts][:-1] <= s.birth_op[casts][1:])
