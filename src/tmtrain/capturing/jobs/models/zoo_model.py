"""What an entry of the zoo is. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Task = Literal["CausalLM", "MaskedLM", "Seq2SeqLM", "ImageClassification", "SpeechSeq2Seq", "Diffusion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooModel:
    """One architecture with random weights."""

    name: str
    config: str
    """Class of `transformers` that holds the configuration; "" for a model that is not of transformers."""
    task: Task
    """What is trained: ``AutoModelForTASK``; "Diffusion" is our own."""
    batch: int
    sequence: int | None = None
    """Default length; None for image models."""
    max_sequence: int | None = None
    """Longest sequence that the position embeddings hold; None if there is no limit."""
    attends: bool = True
    """Has attention layers."""
    blocks: str | None = None
    """Paths of the modules that checkpointing recomputes one by one, as a regular expression; None for those
    that transformers knows."""
    adapter_rank: int | None = None
    """Of the low-rank adapters that alone are trained; None: all weights are."""
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the configuration."""
    notes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What differs from how the model is trained elsewhere; they stand among the options of its trace."""
