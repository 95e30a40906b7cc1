"""What a DeepSpeed configuration says of a plan, and what it cannot, in words: JSON has no comments."""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tmtrain.units import format_bytes

_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroFacts:
    """What a plan does, as far as DeepSpeed has a word for it."""

    model: str
    machine: str
    fast_bytes: int
    bytes_in: int
    bytes_out: int
    parameters_moved: float
    """Share of the bytes that leaves at some moment of the step; so are the next two."""
    gradients_moved: float
    optimizer_moved: float
    moved_activation_bytes: int
    recomputed_bytes: int
    largest_parameter_elements: int
    is_bf16: bool


def explain_config(facts: ZeroFacts, config: dict[str, Any], *, device: str) -> str:
    """Return the text that stands beside the configuration."""
    head = [
        f"DeepSpeed ZeRO-3 configuration from a tmtrain plan: {facts.model} on {facts.machine} with "
        f"{format_bytes(facts.fast_bytes)} of fast memory.",
        f"The plan moves {format_bytes(facts.bytes_in)} in and {format_bytes(facts.bytes_out)} out per step. At some "
        f"moment of the step, {facts.parameters_moved:.1%} of the parameters' bytes are away, "
        f"{facts.gradients_moved:.1%} of the gradients' and {facts.optimizer_moved:.1%} of the optimizer state's.",
    ]
    parts = [*head, "What the configuration says", *_says(facts, config["zero_optimization"], device)]
    parts += ["What it cannot say", *_cannot_say(facts, config)]
    return "\n\n".join(textwrap.fill(part, _WIDTH) for part in parts) + "\n"


def _says(facts: ZeroFacts, zero: dict[str, Any], device: str) -> Iterator[str]:
    optimizer, parameters = zero.get("offload_optimizer"), zero.get("offload_param")
    if optimizer is None:
        yield f"* The optimizer state stays: {facts.optimizer_moved:.1%} is too little for all or nothing."
    elif "ratio" in optimizer:
        yield f"* offload_optimizer.ratio {optimizer['ratio']}: the share of the optimizer state that the plan moves."
    else:
        yield (
            f"* The optimizer state goes to NVMe, all of it; the plan moves {facts.optimizer_moved:.1%}. DeepSpeed refuses "
            "a ratio beside NVMe (github.com/deepspeedai/DeepSpeed/issues/5508): export with --device cpu to have one."
        )
    if parameters is None:
        yield f"* The parameters stay: the plan moves {facts.parameters_moved:.1%}, and DeepSpeed knows all or nothing."
    else:
        yield (
            f"* The parameters go to {device}; those of at most {zero['stage3_param_persistence_threshold']} elements "
            "stay, together no more than the plan always keeps."
        )
    yield (
        f"* sub_group_size and buffer_size are the largest parameter, {facts.largest_parameter_elements} elements: a "
        "buffer must hold it whole. stage3_max_live_parameters is the most that the plan has in fast memory at once, "
        "stage3_prefetch_bucket_size the most that it has on the way (at least the largest parameter)."
    )
    if device == "nvme":
        yield "* nvme_path is DeepSpeed's default: set it to a folder on your drive."


def _cannot_say(facts: ZeroFacts, config: dict[str, Any]) -> Iterator[str]:
    yield (
        "* Which part of which tensor is where at which moment: DeepSpeed has one rule for all parameters, one for all "
        "optimizer state, and fetches by its own trace of the modules. Expect more traffic than the plan's."
    )
    yield (
        "* Where the optimizer runs: with offload_optimizer on the CPU, in the plan on the accelerator. Learning rate and "
        "the choice of the optimizer are yours to add."
    )
    yield (
        f"* Gradients on their own: the plan moves {facts.gradients_moved:.1%}, DeepSpeed treats them with the optimizer "
        "state."
    )
    yield (
        f"* Activations that move ({format_bytes(facts.moved_activation_bytes)}): cpu_checkpointing is for activations "
        "that are partitioned over a model-parallel group, so it is off."
    )
    if "activation_checkpointing" in config:
        yield (
            f"* What is recomputed ({format_bytes(facts.recomputed_bytes)}): activation_checkpointing configures "
            "deepspeed.checkpointing, but switches nothing on by itself. Use the selective policy of "
            "tmtrain export --to checkpoint, or your model's own checkpointing."
        )
    if facts.is_bf16:
        yield (
            "* Precision: the plan's step holds parameters and optimizer state in bfloat16. DeepSpeed's bf16 adds a master "
            "copy and optimizer state in fp32, which the plan did not count."
        )
