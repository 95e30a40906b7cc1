"""Train an image model in less memory than it needs: ``python examples/vision_in_a_budget.py BUDGET FLASH_FOLDER [STEPS]``.

Batch norms, momentum, bf16 autocast, and a look at the result in between: evaluation is operators too, so it stays within
the budget like any step.
"""

import sys

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import tmtrain

SAMPLES = 32


def images(number: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images of ten kinds, and their kinds: brighter in another channel and place."""
    dice = torch.Generator().manual_seed(number)
    kinds = torch.randint(10, (SAMPLES,), generator=dice)
    pixels = torch.randn(SAMPLES, 3, 32, 32, generator=dice)
    for sample, kind in enumerate(kinds.tolist()):
        pixels[sample, kind % 3, 3 * kind : 3 * kind + 5] += 1.5
    return pixels, kinds


def block(channels: int, out: int) -> nn.Sequential:
    """Return a convolution that halves the image."""
    return nn.Sequential(nn.Conv2d(channels, out, 3, stride=2, padding=1), nn.BatchNorm2d(out), nn.ReLU())


def main(budget: str, folder: str, steps: int = 12) -> None:
    """Train, and say what it took."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        block(32, 64),
        block(64, 128),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

    def step(number: int) -> float:
        pixels, kinds = images(number)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(model(pixels), kinds)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    with tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder) as training:
        for number in range(steps):
            print(f"step {number:3}  loss {training.step(number):.6f}")
        model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            pixels, kinds = images(steps)
            right = (model(pixels).argmax(1) == kinds).sum().item()
        model.train()
        last = training.result.steps[-1]
    print(f"{right} of {SAMPLES} new images recognised")
    print(
        f"the last step: {last.how}, {last.bytes_in / 2**20:,.1f} MiB in, {last.bytes_out / 2**20:,.1f} MiB out, "
        f"at most {last.peak_bytes / 2**20:,.1f} MiB in memory"
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
