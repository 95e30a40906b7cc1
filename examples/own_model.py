"""A model of your own: ``tmtrain capture examples/own_model.py:step --samples 32``.

The function returns model, optimizer and step. tmtrain calls it, and the step, where every new tensor is fake, a shape
without bytes: the model may be far larger than this computer's memory.
"""

from collections.abc import Callable

import torch
from torch import nn

SAMPLES = 32


def step() -> tuple[nn.Module, torch.optim.Optimizer, Callable[[], None]]:
    """Build a small convolutional classifier and the step that trains it."""
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    images, labels = torch.randn(SAMPLES, 3, 32, 32), torch.randint(10, (SAMPLES,))

    def train_step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return model, optimizer, train_step
