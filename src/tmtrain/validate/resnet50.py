"""A training step of ResNet-50 v1.5, counted by hand: 53 convolutions, and the passes over memory between them.

Known limitation: nothing is fused across operators. Compilers differ most here, so its throughput is shown, not claimed.
"""

from collections.abc import Iterator

from tmtrain.machine import Machine
from tmtrain.machine.arrays import Convolution, Products, Window
from tmtrain.machine.arrays.traffic import OPERAND_BYTES
from tmtrain.validate.roofline import fast_bytes_per_s, product_seconds, work_joules

PASSES = 8
"""Over the result of a convolution, forward: statistics (read), batch norm and ReLU (read, write); backward: sums over the
gradient (read two), gradient of the batch norm (read two, write)."""

_STAGES = ((64, 3, 56), (128, 4, 56), (256, 6, 28), (512, 3, 14))
"""Width, blocks, and side of the input; the first block of each stage but the first halves it."""


def images_per_s(*, machine: Machine, batch: int) -> float:
    """Return the images that one chip trains on in a second."""
    seconds = 0.0
    for number, convolution in enumerate(convolutions(batch)):
        products = trained_products(convolution, is_first=number == 0)
        between = PASSES * OPERAND_BYTES * _result_elements(convolution)
        seconds += product_seconds(products, machine=machine, moved_bytes=moved_bytes(convolution))
        seconds += between / fast_bytes_per_s(machine)
    return batch / seconds


def image_joules(*, machine: Machine, batch: int) -> float:
    """Return the joules of training on one image, without what the machine draws anyway."""
    joules = 0.0
    for number, convolution in enumerate(convolutions(batch)):
        products = trained_products(convolution, is_first=number == 0)
        between = PASSES * OPERAND_BYTES * _result_elements(convolution)
        moved = products.batch.size * moved_bytes(convolution) + between
        joules += work_joules(products, machine=machine, moved_bytes=moved)
    return joules / batch


def convolutions(images: int) -> Iterator[Convolution]:
    """Yield the convolutions of the forward pass; version 1.5 strides in the 3 x 3 of a block."""
    yield _convolution(images, channels=3, filters=64, side=224, kernel=7, stride=2)
    channels = 64
    for width, blocks, side in _STAGES:
        for block in range(blocks):
            stride = 2 if block == 0 and width != 64 else 1
            yield _convolution(images, channels=channels, filters=width, side=side, kernel=1)
            yield _convolution(images, channels=width, filters=width, side=side, kernel=3, stride=stride)
            yield _convolution(images, channels=width, filters=4 * width, side=side // stride, kernel=1)
            if block == 0:
                yield _convolution(
                    images, channels=channels, filters=4 * width, side=side, kernel=1, stride=stride
                )
            channels, side = 4 * width, side // stride


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


def _convolution(
    images: int, *, channels: int, filters: int, side: int, kernel: int, stride: int = 1
) -> Convolution:
    axis = Window(size=side, kernel=kernel, stride=stride, before=kernel // 2, after=kernel // 2)
    return Convolution(images=images, channels=channels, filters=filters, height=axis, width=axis)


def _result_elements(convolution: Convolution) -> int:
    c = convolution
    return c.images * c.filters * c.height.outputs * c.width.outputs
