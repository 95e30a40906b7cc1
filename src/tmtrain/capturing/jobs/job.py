"""A training job: what is needed to run one step after the other."""

from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Model, optimizer and the step that trains the one with the other."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], object]
    samples: int
    """In the batch of one step."""
