"""A training step of BERT-large as in MLPerf, counted by hand: 24 layers, the masked tokens' classifier, the optimizer.

Passes over memory are those of Megatron's layers (`tmtrain.validation.megatron`) without recomputation, with one exception:
scores of attention never leave the chip. Those of one sequence take 8 MiB, which the SRAM of each chip here holds twice;
NVIDIA's run has a kernel for it (its flag ``fused_mha``), of XLA it is assumed, after both had been looked at: with scores
in memory TPU v3 comes out 7 % too slow instead of 9 % too fast, TPU v4 26 % instead of 8 % too slow.

Known limitation: reductions between chips, embedding and next-sentence classifier are left out, together 2 to 4 %.
"""

from dataclasses import dataclass

from tmtrain.machine import Machine
from tmtrain.machine.arrays import Products
from tmtrain.validation.megatron import (
    BACKWARD_INNER_BYTES,
    BACKWARD_TOKEN_BYTES,
    FORWARD_INNER_BYTES,
    FORWARD_TOKEN_BYTES,
    OPTIMIZER_BYTES,
    GptRun,
    core_products,
    linear_products,
)
from tmtrain.validation.roofline import fast_bytes_per_s, product_seconds

HIDDEN, LAYERS, HEADS, VOCABULARY, POSITIONS = 1024, 24, 16, 30522, 512
MASKED_TOKENS = 76
"""Per sequence at most, and taken to be so many: MLPerf's ``max_predictions_per_seq``."""
LAMB_BYTES = 12
"""Per parameter, besides those of Adam: the update in fp32 written and read, the master read once more for its norm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BertRun:
    """One chip of a run, data parallel."""

    sequences: int
    """Per chip and step."""
    tokens: int
    """Per sequence, as far as they are computed on: padding too, where a run does not remove it."""
    optimizer_shards: int = 1
    """Chips that share the work of the optimizer."""


def sequences_per_s(run: BertRun, *, machine: Machine) -> float:
    """Return the sequences that one chip trains on in a second."""
    rate = fast_bytes_per_s(machine)
    optimizer_bytes = parameters() * (OPTIMIZER_BYTES + LAMB_BYTES) / run.optimizer_shards
    products_s = sum(product_seconds(part, machine=machine) for part in trained_products(run))
    return run.sequences / (products_s + (LAYERS * elementwise_bytes(run) + optimizer_bytes) / rate)


def trained_products(run: BertRun) -> list[Products]:
    """Return all products of a step, forward and backward."""
    layer = GptRun(
        hidden=HIDDEN,
        layers=LAYERS,
        heads=HEADS,
        stages=1,
        chunks=1,
        micro_batch=run.sequences,
        micro_batches=1,
        recompute="selective",
        sequence=run.tokens,
        vocabulary=VOCABULARY,
        gpus_per_layer=1,
    )
    head = Products.of(batch=1, m=run.sequences * MASKED_TOKENS, n=[HIDDEN, VOCABULARY], k=HIDDEN)
    forward = [*[linear_products(layer)] * LAYERS, *[core_products(layer)] * LAYERS, head]
    return [*forward, *(part.backward for part in forward)]


def elementwise_bytes(run: BertRun) -> int:
    """Return the bytes that the elementwise kernels of a layer move."""
    per_token = FORWARD_TOKEN_BYTES + BACKWARD_TOKEN_BYTES + 4 * (FORWARD_INNER_BYTES + BACKWARD_INNER_BYTES)
    return per_token * run.sequences * run.tokens * HIDDEN


def parameters() -> int:
    """Return how many there are, biases, norms and the small classifiers left out.

    >>> round(parameters() / 1e6)
    335
    """
    return 12 * HIDDEN**2 * LAYERS + (VOCABULARY + POSITIONS + HIDDEN) * HIDDEN
