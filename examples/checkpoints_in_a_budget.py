"""Save and resume a training in a budget: ``python examples/checkpoints_in_a_budget.py BUDGET FOLDER [STEPS [STOP]]``.

The loop that people write: accumulation of gradients, clipping, a learning rate schedule, checkpoints. tmtrain adds the
`with` line, and the checkpoints are its own, since what lies on flash cannot be handed to `torch.save`. Interrupt it and
start it again: it goes on where it was, bit for bit.
"""

import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from transformers import GPT2Config, GPT2LMHeadModel

import tmtrain

BATCH, SEQUENCE, ACCUMULATE, EVERY = 4, 64, 2, 4
TEXT = (Path(tmtrain.__file__).parent / "planning" / "programme" / "model.py").read_bytes()
"""Something to learn: a file that is there."""
CONFIG = GPT2Config(
    vocab_size=256, n_positions=SEQUENCE, n_embd=128, n_layer=4, n_head=4, bos_token_id=0, eos_token_id=0
)


def batch(number: int) -> torch.Tensor:
    """Return some bytes of the text, shape (BATCH, SEQUENCE + 1); the same for the same number."""
    dice = torch.Generator().manual_seed(number)
    starts = torch.randint(len(TEXT) - SEQUENCE - 1, (BATCH,), generator=dice).tolist()
    return torch.stack(
        [torch.frombuffer(bytearray(TEXT[s : s + SEQUENCE + 1]), dtype=torch.uint8) for s in starts]
    )


def main(budget: str, folder: str, steps: int = 12, stop: int | None = None) -> None:
    """Train for so many steps, or until `stop` as if somebody had interrupted it; say what it took."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def step(number: int) -> float:
        total = 0.0
        for part in range(ACCUMULATE):
            tokens = batch(number * ACCUMULATE + part).long()
            logits = model(tokens[:, :-1]).logits
            loss = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()) / ACCUMULATE
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        return total

    saved, first = Path(folder) / "gpt.safetensors", 0
    with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder) as training:
        if saved.exists():
            extra = training.load(saved)
            schedule.load_state_dict(extra["schedule"])
            first = extra["steps"]
        for number in range(first, steps if stop is None else stop):
            print(f"step {number:3}  loss {training.step(number):.6f}")
            if (number + 1) % EVERY == 0:
                training.save(saved, extra={"schedule": schedule.state_dict(), "steps": number + 1})
        last = training.result.steps[-1] if training.result.steps else None
    if last:
        print(
            f"the last step: {last.how}, {last.bytes_in / 2**20:,.1f} MiB in, {last.bytes_out / 2**20:,.1f} MiB out, "
            f"at most {last.peak_bytes / 2**20:,.1f} MiB in memory"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
