"""A plan applied to a live GPT-2 by torch's own selective checkpointing. ``python examples/selective_checkpointing.py``."""

import tempfile

import torch
from transformers import GPT2Config, GPT2LMHeadModel

import tmtrain
from tmtrain.exports.live.checkpoint import apply_checkpoint_policy


def make() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """Build the same model each time, with dropout."""
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=4, n_embd=64, n_head=4, n_positions=64, vocab_size=128, bos_token_id=0, eos_token_id=0
    )
    model = GPT2LMHeadModel(config).train()
    return model, torch.optim.AdamW(model.parameters(), foreach=False)


def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """Train on one batch; a cache of keys and values would be filled twice, so there is none."""
    optimizer.zero_grad()
    loss = model(input_ids=TOKENS, labels=TOKENS, use_cache=False).loss
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def kept_bytes(model: torch.nn.Module) -> int:
    """Capture a step and add up what forward leaves for backward."""
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    step(model, optimizer)
    with tmtrain.capture(model, optimizer, name="gpt2-small", samples=4) as captured:
        step(model, optimizer)
    trace = captured.trace
    begin = list(trace.operators.phase).index(tmtrain.Phase.BACKWARD)
    alive = (trace.storages.birth_op < begin) & (trace.storages.death_op > begin) & ~trace.storages.persistent
    return int(trace.storages.bytes[alive].sum())


TOKENS = torch.randint(0, 128, (4, 64))
model, optimizer = make()
step(model, optimizer)  # the optimizer makes its state
with tmtrain.capture(model, optimizer, name="gpt2-small", samples=4) as captured:
    step(model, optimizer)

trace, machine = captured.trace, tmtrain.load_machine("v4-slc")
fast = tmtrain.parse_fast("40%").of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
timeline = tmtrain.lower(trace, machine=machine, fast_bytes=fast)
plan = tmtrain.plan(timeline, machine=machine)

with tempfile.TemporaryDirectory() as folder:
    done = tmtrain.export(
        plan, f"{folder}/gpt2.sac.json", to="checkpoint", trace=trace, timeline=timeline, machine=machine
    )
    policy = tmtrain.load_checkpoint_policy(done.files[0])
for label, text in done.lines:
    print(f"{label}: {text}")

(plain, _), (wrapped, _) = make(), make()
apply_checkpoint_policy(wrapped, policy)
print(f"kept for backward without: {kept_bytes(plain):,} bytes")
print(f"kept for backward with the policy: {kept_bytes(wrapped):,} bytes")

losses: list[list[float]] = []
for policies in ((), (policy,)):
    model, optimizer = make()
    for one in policies:
        apply_checkpoint_policy(model, one)
    torch.manual_seed(1)
    losses.append([step(model, optimizer) for _ in range(3)])
print("losses of three steps:", "the same bit for bit" if losses[0] == losses[1] else f"differ: {losses}")
