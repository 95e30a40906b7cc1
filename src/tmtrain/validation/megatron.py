"""A training iteration of Megatron-LM, counted by hand: products, passes over memory, links, pipeline, optimizer.

One GPU of a pipeline stage does its share of every layer; reductions between the GPUs of a layer are not hidden, as in the
program of the measurements. Letters as in the paper (Korthikanti et al., arXiv 2205.05198): b samples of s tokens in a
micro-batch, h hidden, a heads, L layers, t GPUs to a layer, p stages, v chunks of layers per GPU.

Known limitation: transfers between stages are never hidden. Note [Efficiency] of `tmtrain.validation.roofline` accounts for
what else is lost.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from tmtrain.machine import Machine
from tmtrain.machine.arrays import Attention, Products
from tmtrain.validation.roofline import fast_bytes_per_s, product_seconds

Recompute: TypeAlias = Literal["full", "selective"]
"""All of forward; or the core of attention, and then norms and dropouts are divided over the GPUs of a layer too."""

REDUCTION_BYTES_PER_S = 200e9
"""Bus bandwidth of an all-reduce over 8 x A100 with NVSwitch: nccl-tests, issues 149 (200) and 178 (208), 2023."""
STAGE_BYTES_PER_S = 25e9
"""Between stages, per GPU: one 200 Gbit/s InfiniBand port each (NVIDIA DGX A100 data sheet, 2020)."""
OPTIMIZER_BYTES = 30
"""Per parameter: master, two moments in fp32 read and written (24), gradient in fp32 read (4), bf16 copy written (2)."""

# Bytes that the fused elementwise kernels of a layer move; masks of dropout take one byte, everything else two.
FORWARD_TOKEN_BYTES = 22
"""Times bsh: two layer norms (read, write), two bias-dropout-adds (read two, write one and a mask)."""
FORWARD_INNER_BYTES = 4
"""Times 4bsh/t: bias and GeLU (read, write)."""
FORWARD_SCORE_BYTES = 9
"""Times abss/t: softmax (read, write), dropout (read, write and a mask)."""
BACKWARD_TOKEN_BYTES = 34
"""Times bsh: layer norms (read two, write one), dropouts (read one and a mask, write one), sums of two gradients."""
BACKWARD_INNER_BYTES = 6
"""Times 4bsh/t: GeLU (read two, write one)."""
BACKWARD_SCORE_BYTES = 11
"""Times abss/t: softmax (read two, write one), dropout (read one and a mask, write one)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GptRun:
    """One run."""

    hidden: int
    layers: int
    heads: int
    stages: int
    chunks: int
    """Of layers per GPU: interleaved stages."""
    micro_batch: int
    micro_batches: int
    recompute: Recompute
    sequence: int = 2048
    vocabulary: int = 51200
    gpus_per_layer: int = 8

    @property
    def tokens(self) -> int:
        """Of a micro-batch."""
        return self.micro_batch * self.sequence

    @property
    def parameters_per_gpu(self) -> float:
        """Of layers and embedding."""
        in_layers = 12 * self.hidden**2 * self.layers / self.stages
        return (in_layers + self.vocabulary * self.hidden) / self.gpus_per_layer


def iteration_seconds(run: GptRun, *, machine: Machine) -> float:
    """Return the seconds of one iteration: micro-batches in the slowest stage, bubble, transfers, optimizer."""
    stage_s = layer_seconds(run, machine=machine) * run.layers / run.stages
    head = Products.of(batch=1, m=run.tokens, n=run.vocabulary // run.gpus_per_layer, k=run.hidden)
    head_s = sum(product_seconds(part, machine=machine) for part in (head, head.backward))
    bubble_s = (run.stages - 1) / run.chunks * stage_s
    between_bytes = 2 * 2 * run.tokens * run.hidden / run.gpus_per_layer if run.stages > 1 else 0.0
    between_s = run.micro_batches * run.chunks * between_bytes / STAGE_BYTES_PER_S
    optimizer_s = run.parameters_per_gpu * OPTIMIZER_BYTES / fast_bytes_per_s(machine)
    return run.micro_batches * (stage_s + head_s) + bubble_s + between_s + optimizer_s


def layer_seconds(run: GptRun, *, machine: Machine) -> float:
    """Return the seconds of one layer of a micro-batch: forward, backward, and what is recomputed."""
    linear, core = linear_products(run), core_products(run)
    rate = fast_bytes_per_s(machine)
    t, scores = run.gpus_per_layer, core_scores(run)
    # Selective recomputation comes with sequence parallelism, full recomputation was measured without.
    tokens = run.tokens * run.hidden / (t if run.recompute == "selective" else 1)
    inner = 4 * run.tokens * run.hidden / t
    # Two all-reduces of two bytes an element; a ring sends 2 (t - 1) / t of each over the bus.
    reductions_s = 2 * 2 * (t - 1) / t * 2 * run.tokens * run.hidden / REDUCTION_BYTES_PER_S

    core_s = product_seconds(core, machine=machine) + FORWARD_SCORE_BYTES * scores / rate
    forward_s = (
        product_seconds(linear, machine=machine)
        + core_s
        + (FORWARD_TOKEN_BYTES * tokens + FORWARD_INNER_BYTES * inner) / rate
        + reductions_s
    )
    backward_moved = (
        BACKWARD_TOKEN_BYTES * tokens + BACKWARD_INNER_BYTES * inner + BACKWARD_SCORE_BYTES * scores
    )
    backward_s = (
        sum(product_seconds(part.backward, machine=machine) for part in (linear, core))
        + backward_moved / rate
        + reductions_s
    )
    return forward_s + backward_s + (forward_s if run.recompute == "full" else core_s)


def linear_products(run: GptRun) -> Products:
    """Return the four linear layers of one layer, the share of one GPU: query-key-value, projection, in and out."""
    h, t = run.hidden, run.gpus_per_layer
    return Products.of(batch=1, m=run.tokens, n=[3 * h // t, h, 4 * h // t, h], k=[h, h // t, h, 4 * h // t])


def core_products(run: GptRun) -> Products:
    """Return the products of attention, the share of one GPU."""
    return Attention(
        sequences=run.micro_batch,
        heads=run.heads // run.gpus_per_layer,
        queries=run.sequence,
        keys=run.sequence,
        head_size=run.hidden // run.heads,
    ).products()


def core_scores(run: GptRun) -> float:
    """Return how many scores of attention one GPU has: abss/t."""
    return run.heads * run.sequence**2 * run.micro_batch / run.gpus_per_layer
