"""A training step of ResNet-50 v1.5, counted by hand: 53 convolutions, and the passes over memory between them.

Note [Passes]: what lies between convolutions moves bytes only, and how many depends on what a software stack fuses. Two
stacks, each by one rule for all layers and chips, written down when the measurements were known; a pass reads or writes
one result of a convolution in bf16:

*kernels* (cuDNN and MXNet of 2021): convolutions by themselves; a batch norm with its ReLU and the sum of a block is one
kernel. Per result, forward: statistics (1), normalise (2); backward: sums over the gradient (2), gradient (3). Per block
besides: the shortcut is read (1), its gradient written (1), the gradients of both branches added (3).

*compiler* (XLA; "tf.matmul supports fusing into its input and output", Cloud TPU documentation, TensorFlow performance
guide): elementwise work and sums over a result join the convolution that writes or reads it; what several read is written
once. Per result, forward nothing: statistics join the convolution, normalising the ones that read it. Backward: sums join
the convolution that writes the gradient and read the activation (1), and both gradient convolutions form theirs on the fly
from two tensors instead of one (2). Per block: the sum is written, since the next convolution and the next shortcut read it
(3); the shortcut's gradient joins the convolution that writes the other (1).

Known limitation: pooling, classifier, optimizer and reductions between chips are left out, together 1 to 2 %.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tmtrain.machine import Machine
from tmtrain.machine.arrays import Convolution, Products, Window
from tmtrain.machine.arrays.traffic import OPERAND_BYTES
from tmtrain.validation.roofline import fast_bytes_per_s, product_seconds, work_joules

Stack: TypeAlias = Literal["kernels", "compiler"]
"""What fuses: Note [Passes]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """Passes over memory between convolutions, forward and backward: Note [Passes]."""

    per_result: int
    """Over the result of a convolution."""
    per_block: int
    """Besides, over the result of a block."""


PASSES: dict[Stack, Passes] = {
    "kernels": Passes(per_result=8, per_block=5),
    "compiler": Passes(per_result=3, per_block=4),
}

_STAGES = ((64, 3, 56), (128, 4, 56), (256, 6, 28), (512, 3, 14))
"""Width, blocks, and side of the input; the first block of each stage but the first halves it."""


def images_per_s(*, machine: Machine, batch: int, stack: Stack) -> float:
    """Return the images that one chip trains on in a second."""
    seconds = between_bytes(batch, stack=stack) / fast_bytes_per_s(machine)
    for number, convolution in enumerate(convolutions(batch)):
        products = trained_products(convolution, is_first=number == 0)
        seconds += product_seconds(products, machine=machine, moved_bytes=moved_bytes(convolution))
    return batch / seconds


def image_joules(*, machine: Machine, batch: int, stack: Stack) -> float:
    """Return the joules of training on one image, without what the machine draws anyway."""
    joules = between_bytes(batch, stack=stack) * machine.fast.energy_j_per_byte
    for number, convolution in enumerate(convolutions(batch)):
        products = trained_products(convolution, is_first=number == 0)
        moved = products.batch.size * moved_bytes(convolution)
        joules += work_joules(products, machine=machine, moved_bytes=moved)
    return joules / batch


def between_bytes(images: int, *, stack: Stack) -> int:
    """Return the bytes that cross memory between convolutions: Note [Passes].

    >>> round(between_bytes(1, stack="kernels") / 1e6)
    233
    """
    results = sum(_result_elements(convolution) for convolution in convolutions(images))
    sums = sum(images * 4 * block.width * (block.side // block.stride) ** 2 for block in _blocks())
    return OPERAND_BYTES * (PASSES[stack].per_result * results + PASSES[stack].per_block * sums)


def convolutions(images: int) -> Iterator[Convolution]:
    """Yield the convolutions of the forward pass; version 1.5 strides in the 3 x 3 of a block."""
    yield _convolution(images, channels=3, filters=64, side=224, kernel=7, stride=2)
    for block in _blocks():
        width, side = block.width, block.side
        yield _convolution(images, channels=block.channels, filters=width, side=side, kernel=1)
        yield _convolution(images, channels=width, filters=width, side=side, kernel=3, stride=block.stride)
        yield _convolution(images, channels=width, filters=4 * width, side=side // block.stride, kernel=1)
        if block.channels != 4 * width:
            yield _convolution(
                images, channels=block.channels, filters=4 * width, side=side, kernel=1, stride=block.stride
            )


def trained_products(convolution: Convolution, *, is_first: bool) -> Products:
    """Return the products of forward and of both gradients; nobody needs the gradient of the images."""
    forward = convolution.products()
    if not is_first:
        return Products.joined([forward, forward.backward])
    to_filters = Products(batch=forward.batch, m=forward.k, n=forward.n, k=forward.m)
    return Products.joined([forward, to_filters])


def moved_bytes(convolution: Convolution) -> float:
    """Return the bytes that a convolution, or one of its gradients, moves: input, filters and result once."""
    c = convolution
    filters = c.channels * c.filters * c.height.kernel * c.width.kernel
    return OPERAND_BYTES * (c.input_elements + filters + _result_elements(c))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """Three convolutions and a shortcut."""

    channels: int
    """Of the input."""
    width: int
    side: int
    """Of the input."""
    stride: int


def _blocks() -> Iterator[_Block]:
    channels = 64
    for width, blocks, side in _STAGES:
        for number in range(blocks):
            stride = 2 if number == 0 and width != 64 else 1
            yield _Block(channels=channels, width=width, side=side, stride=stride)
            channels, side = 4 * width, side // stride


def _convolution(
    images: int, *, channels: int, filters: int, side: int, kernel: int, stride: int = 1
) -> Convolution:
    axis = Window(size=side, kernel=kernel, stride=stride, before=kernel // 2, after=kernel // 2)
    return Convolution(images=images, channels=channels, filters=filters, height=axis, width=axis)


def _result_elements(convolution: Convolution) -> int:
    c = convolution
    return c.images * c.filters * c.height.outputs * c.width.outputs
