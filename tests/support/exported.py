"""A real GPT-2 small enough to train in a test, its plan, and its ledger."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch

from tests.support.proposals import proposed
from tmtrain.capturing import capture
from tmtrain.exports.ledger import Ledger, open_ledger
from tmtrain.lowering import lower
from tmtrain.machine import load_machine
from tmtrain.trace import Trace
from tmtrain.units import parse_fast

LAYERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A model with dropout, its optimizer, and one step on a fixed batch."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], float]


def gpt2() -> Training:
    """Build the model; every call gives the same weights and tokens."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=LAYERS,
        n_embd=64,
        n_head=4,
        n_positions=64,
        vocab_size=128,
        use_cache=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    config.loss_type = "ForCausalLM"
    model = GPT2LMHeadModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    tokens = torch.randint(0, 128, (4, 64))

    def step() -> float:
        optimizer.zero_grad()
        loss = model(input_ids=tokens, labels=tokens, use_cache=False).loss
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return Training(model=model, optimizer=optimizer, step=step)


def capture_step(training: Training) -> Trace:
    """Capture a steady step with real tensors."""
    training.step()
    with capture(training.model, training.optimizer, name="gpt2-small", samples=4) as captured:
        training.step()
    return captured.trace


@cache
def gpt2_ledger(fast: str = "40%") -> Ledger:
    """Return the ledger of the plan for least energy; takes a few seconds, once per test session."""
    trace, machine = _gpt2_trace(), load_machine("v4-slc")
    fast_bytes = parse_fast(fast).of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    return open_ledger(proposed(timeline, machine=machine), trace=trace, timeline=timeline, machine=machine)


@cache
def _gpt2_trace() -> Trace:
    return capture_step(gpt2())
