"""Train a small GPT in a third of the memory that it needs: ``python examples/gpt_in_a_budget.py FOLDER``.

FOLDER is on a local drive. From the command line, with a prediction beside it:
``tmtrain train examples/gpt_in_a_budget.py:job --budget 33% --flash FOLDER``.
"""

import sys
from collections.abc import Callable

import torch
from torch import nn

import tmtrain

VOCABULARY, WIDTH, LAYERS, LENGTH, BATCH = 1024, 128, 4, 64, 4


class Gpt(nn.Module):
    """A decoder with tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(LAYERS)
        )

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Return logits of the next tokens."""
        mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
        hidden = self.tokens(ids) + self.positions
        for layer in self.layers:
            hidden = layer(hidden, src_mask=mask, is_causal=True)
        return hidden @ self.tokens.weight.T


def training_step(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a step as one writes it anyway."""
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)

    def step(ids: torch.Tensor) -> torch.Tensor:
        logits = model(ids)
        loss = nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
        return loss.detach()

    return step


def job() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], torch.Tensor]]:
    """Build what `tmtrain train` runs: a step of its own batch."""
    torch.manual_seed(0)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step, ids = training_step(model, optimizer), torch.randint(0, VOCABULARY, (BATCH, LENGTH))
    return model, optimizer, lambda: step(ids)


def main() -> None:
    """Train for ten steps and say what it took."""
    torch.manual_seed(0)
    model = Gpt()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = training_step(model, optimizer)
    with tmtrain.train(model, optimizer, step, budget_bytes="6 MiB", flash=sys.argv[1]) as training:
        for number in range(10):
            loss = training.step(torch.randint(0, VOCABULARY, (BATCH, LENGTH)))
            done = training.result.steps[-1]
            print(
                f"step {number}: loss {loss:.4f}, {done.how}, {done.bytes_in:,} bytes in, {done.bytes_out:,} out"
            )
    most = max(done.peak_bytes for done in training.result.steps)
    print(f"never more than {most:,} bytes in memory of what can move")


if __name__ == "__main__":
    main()
