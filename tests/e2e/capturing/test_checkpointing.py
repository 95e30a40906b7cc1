"""A checkpointed step is the same training with less memory and more work."""

import re
from typing import NamedTuple

import numpy as np
import pytest
import torch
from tests.support.models import TINY
from tests.support.thoroughness import rest_slow

from tmtrain.capturing import StepOptions, capture_model
from tmtrain.capturing.fake import capture_zoo_model
from tmtrain.capturing.jobs.catalog import resolve_options
from tmtrain.capturing.jobs.job import TrainingJob
from tmtrain.capturing.jobs.options import Attention, Checkpointing
from tmtrain.capturing.jobs.zoo import build_job
from tmtrain.trace import Phase, Trace

MODELS = ("gpt2-tiny", "resnet-tiny", "llama-tiny", "bert-tiny", "t5-tiny", "vit-tiny")
BLOCK = re.compile(r".*\.(h|layer|layers|block)\.\d+(?=\.|$)")


class Steps(NamedTuple):
    name: str
    plain: Trace
    full: Trace
    selective: Trace


def trace_of(name: str, checkpointing: Checkpointing | None, *, attention: Attention | None = None) -> Trace:
    # Large enough that activations and not parameters make the peak.
    shape = {"batch": 16, "sequence": TINY[name].sequence and 64}
    options = StepOptions(**shape, checkpointing=checkpointing, attention=attention)
    return capture_zoo_model(TINY[name], resolve_options(TINY[name], options))


@pytest.fixture(scope="module", params=rest_slow(MODELS))
def steps(request: pytest.FixtureRequest) -> Steps:
    name = request.param
    return Steps(name, trace_of(name, None), trace_of(name, "full"), trace_of(name, "selective"))


def test_what_is_computed_again_need_not_be_kept(steps: Steps) -> None:
    assert steps.full.footprint_bytes < steps.selective.footprint_bytes < steps.plain.footprint_bytes


def test_forward_loss_and_optimizer_are_the_same(steps: Steps) -> None:
    for phase in (Phase.DATA, Phase.FORWARD, Phase.LOSS, Phase.OPTIMIZER):
        plain, full, selective = (work(trace, phase) for trace in steps[1:])
        assert full == plain
        assert selective == plain


def work(trace: Trace, phase: Phase) -> list[tuple[str, str, int]]:
    """Names, modules and FLOPs of the operators of a phase; checkpointing may add views, which do nothing."""
    o = trace.operators
    working = np.flatnonzero((o.phase == phase) & ~o.is_view)
    return [(o.name[t], o.module[t], int(o.flops[t])) for t in working]


def test_full_checkpointing_computes_the_blocks_twice(steps: Steps) -> None:
    recomputed = products_of_blocks(steps.plain)
    if steps.name in ("llama-tiny", "vit-tiny"):
        # These blocks end with a matrix product and an addition, which backward does not look at: torch stops
        # before them.
        ends = {block: t for t, block, _ in recomputed}
        recomputed = [product for product in recomputed if product[0] not in ends.values()]
    assert flops(steps.full) == flops(steps.plain) + sum(count for _, _, count in recomputed)


def test_selective_checkpointing_computes_no_product_of_weights_twice(steps: Steps) -> None:
    assert flops(steps.selective) == flops(steps.plain)


def test_selective_checkpointing_computes_the_products_of_unfused_attention_twice() -> None:
    plain, selective = (trace_of("gpt2-tiny", kind, attention="eager") for kind in (None, "selective"))
    names = plain.operators.name
    batched = [count for t, _, count in products_of_blocks(plain) if names[t] == "aten.bmm.default"]
    assert len(batched) == 2 * 2
    assert flops(selective) == flops(plain) + sum(batched)


def products_of_blocks(trace: Trace) -> list[tuple[int, str, int]]:
    """Operators of forward with FLOPs inside blocks: which, its block, its FLOPs."""
    o = trace.operators
    products = []
    for t in np.flatnonzero((o.phase == Phase.FORWARD) & (o.flops > 0)):
        block = BLOCK.match(o.module[t])
        if block:
            products.append((int(t), block[0], int(o.flops[t])))
    assert products
    return products


def flops(trace: Trace) -> int:
    return int(trace.operators.flops.sum())


def test_the_trace_says_which(steps: Steps) -> None:
    assert [trace.options["checkpointing"] for trace in steps[1:]] == [None, "full", "selective"]


def real_job(name: str, checkpointing: Checkpointing | None) -> TrainingJob:
    torch.manual_seed(0)
    model = TINY[name]
    job = build_job(model, resolve_options(model, StepOptions(precision="fp32", checkpointing=checkpointing)))
    for parameter in job.model.parameters():  # the zoo leaves them as they were allocated
        torch.nn.init.normal_(parameter, std=0.05)
    for _ in range(2):
        job.step()
    return job


@pytest.mark.parametrize("checkpointing", ["full", "selective"])
@pytest.mark.parametrize("name", rest_slow(MODELS))
def test_training_is_the_same_bit_for_bit(name: str, checkpointing: Checkpointing) -> None:
    plain, saved = real_job(name, None).model, real_job(name, checkpointing).model
    for (path, expected), actual in zip(plain.named_parameters(), saved.parameters(), strict=True):
        assert torch.isfinite(expected).all()
        assert torch.equal(actual, expected), path


def test_blocks_count_a_batch_of_batch_norm_twice() -> None:
    counts = {
        (bool(BLOCK.match(path)), int(buffer))
        for path, buffer in real_job("resnet-tiny", "full").model.named_buffers()
        if path.endswith("num_batches_tracked")
    }
    assert counts == {(False, 2), (True, 4)}


@pytest.mark.slow
def test_recomputed_activations_die_with_their_block() -> None:
    """A hook that held on to them would bring the peak of 48 blocks back."""
    plain, full = (capture_model("gpt2-xl", StepOptions(checkpointing=kind)) for kind in (None, "full"))
    assert full.footprint_bytes < plain.footprint_bytes / 10
