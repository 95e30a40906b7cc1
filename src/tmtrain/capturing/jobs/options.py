"""What may be chosen about the step of a zoo model. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "bf16-mixed"]
Attention = Literal["fused", "eager"]
Operators = Literal["accelerator", "cpu"]
OptimizerName = Literal["adamw", "sgd", "adafactor"]
Checkpointing = Literal["full", "selective"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """One training step of a zoo model; None means the model's default.

    >>> StepOptions(batch=4).sequence is None
    True
    """

    batch: int | None = None
    """Sequences or images."""
    sequence: int | None = None
    """Tokens per sequence; encoder and decoder alike. Not for image models."""
    precision: Precision | None = None
    """"fp32" and "bf16": all of parameters, gradients, activations and optimizer state; "bf16-mixed": a master copy of
    the weights and the optimizer state are fp32, 16 bytes a parameter with Adam. Default "bf16-mixed" for language
    models, "bf16" for image models."""
    attention: Attention | None = None
    """Default "fused", one operator that keeps no scores; "eager" is composed of single ones."""
    operators: Operators | None = None
    """Default "accelerator": what PyTorch runs on one (docs/operators.md); "cpu": what it runs here."""
    optimizer: OptimizerName | None = None
    """Default "adamw"; "sgd" has momentum 0.9; one tensor at a time."""
    checkpointing: Checkpointing | None = None
    """Recompute each block in backward: "full" all of it, "selective" all but matrix products, convolutions and
    fused attention; default: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedOptions:
    """`StepOptions` with the model's defaults filled in; None means that the step has no such thing."""

    batch: int
    sequence: int | None
    precision: Precision
    attention: Attention | None
    operators: Operators
    optimizer: OptimizerName
    checkpointing: Checkpointing | None
