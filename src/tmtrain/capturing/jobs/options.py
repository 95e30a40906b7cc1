"""What may be chosen about the step of a zoo model. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Dtype = Literal["bf16", "fp32"]
Attention = Literal["sdpa", "eager"]
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
    dtype: Dtype | None = None
    """Of parameters, activations and optimizer state; default "bf16"."""
    attention: Attention | None = None
    """Default "sdpa": torch's fused attention, which takes its unfused path on CPU where dropout is on."""
    optimizer: OptimizerName | None = None
    """Default "adamw"; "sgd" has momentum 0.9; one tensor at a time (not foreach, not fused)."""
    checkpointing: Checkpointing | None = None
    """Recompute each block in backward: "full" all of it, "selective" all but matrix products, convolutions and
    fused attention; default: nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedOptions:
    """`StepOptions` with the model's defaults filled in; None means that the step has no such thing."""

    batch: int
    sequence: int | None
    dtype: Dtype
    attention: Attention | None
    optimizer: OptimizerName
    checkpointing: Checkpointing | None
