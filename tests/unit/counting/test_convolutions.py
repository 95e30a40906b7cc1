"""FLOPs of convolutions against loops that compute them, and count what they multiply."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.support.calls import works_of

from tmtrain.counting import OperatorCall, OperatorWork, count_work

aten = torch.ops.aten
Index = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Layer:
    channels: tuple[int, int]
    """In, out."""
    size: Index
    kernel: Index
    groups: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0
    transposed: bool = False
    batch: int = 2

    def weight_shape(self) -> Index:
        into, out = self.channels
        first, second = (into, out) if self.transposed else (out, into)
        return (first, second // self.groups, *self.kernel)

    def source_shape(self) -> Index:
        return (self.batch, self.channels[0], *self.size)

    def arguments(self) -> tuple[object, ...]:
        dims = len(self.size)
        settings = ([setting] * dims for setting in (self.stride, self.padding, self.dilation))
        return (*settings, self.transposed, [0] * dims, self.groups)


LAYERS = [
    Layer(channels=(4, 6), size=(5, 4), kernel=(3, 3)),
    Layer(channels=(4, 6), size=(5, 4), kernel=(3, 2), groups=2),
    Layer(channels=(4, 4), size=(5, 5), kernel=(3, 3), groups=4, padding=1),
    Layer(channels=(2, 6), size=(5, 5), kernel=(3, 3), groups=2, stride=2, padding=1),
    Layer(channels=(3, 2), size=(7,), kernel=(3,), dilation=2),
    Layer(channels=(3, 2), size=(7,), kernel=(2,), stride=3, dilation=2, padding=2),
    Layer(channels=(4, 2), size=(2, 3, 2), kernel=(2, 1, 2), groups=2),
    Layer(channels=(4, 6), size=(3, 4), kernel=(3, 3), transposed=True),
    Layer(channels=(4, 4), size=(3, 4), kernel=(2, 2), groups=4, stride=2, transposed=True),
    Layer(
        channels=(4, 6), size=(4,), kernel=(3,), groups=2, stride=2, dilation=2, padding=1, transposed=True
    ),
]


def terms(layer: Layer, result_shape: Index) -> Iterator[tuple[Index, Index, Index]]:
    """Every product of the layer: indices of its factors in the padded input and the weight, and of the sum it is in.

    One loop for each dimension of window and group; nothing is said of how many there are.
    """
    into, out = (channels // layer.groups for channels in layer.channels)
    spots = layer.size if layer.transposed else result_shape[2:]
    for n, g, i, o in itertools.product(range(layer.batch), range(layer.groups), range(into), range(out)):
        weight = (g * into + i, o) if layer.transposed else (g * out + o, i)
        for spot in itertools.product(*map(range, spots)):
            for offset in itertools.product(*map(range, layer.kernel)):
                other = tuple(
                    s * layer.stride + k * layer.dilation for s, k in zip(spot, offset, strict=True)
                )
                near, far = (spot, other) if layer.transposed else (other, spot)
                yield (n, g * into + i, *near), (*weight, *offset), (n, g * out + o, *far)


@pytest.mark.parametrize("layer", LAYERS)
def test_forward_and_backward_multiply_as_often_as_counted(layer: Layer) -> None:
    torch.manual_seed(0)
    source = torch.randn(layer.source_shape(), dtype=torch.float64)
    weight = torch.randn(layer.weight_shape(), dtype=torch.float64)
    call = (source, weight, None, *layer.arguments())
    [(name, forward)] = works_of(lambda: aten.convolution(*call))
    result = aten.convolution(*call)
    gradient = torch.randn(result.shape, dtype=torch.float64)
    sums, source_gradient, weight_gradient = loops(layer, source, weight, gradient)
    np.testing.assert_allclose(sums.values, result.numpy())
    assert (name, forward.flops) == ("convolution.default", 2 * sums.products)
    for mask in itertools.product([True, False], repeat=3):
        wanted = 2 * (mask[0] * source_gradient.products + mask[1] * weight_gradient.products)
        arguments = (gradient, source, weight, [layer.channels[1]], *layer.arguments(), list(mask))
        works = works_of(lambda arguments=arguments: aten.convolution_backward(*arguments))
        assert [work.flops for _, work in works] == [wanted]
    arguments = (gradient, source, weight, None, *layer.arguments(), [True, True, False])
    gradients = aten.convolution_backward(*arguments)
    np.testing.assert_allclose(source_gradient.values, gradients[0].numpy())
    np.testing.assert_allclose(weight_gradient.values, gradients[1].numpy())


@dataclass(kw_only=True)
class Sums:
    values: np.ndarray
    products: int = 0

    def add(self, at: Index, value: float) -> None:
        self.values[at] += value
        self.products += 1


def loops(
    layer: Layer, source: torch.Tensor, weight: torch.Tensor, gradient: torch.Tensor
) -> tuple[Sums, Sums, Sums]:
    """Result and both gradients, each product by itself. Padding is there, as zeros, and is taken off at the end."""
    dims, pad = len(layer.size), layer.padding
    inner = (slice(None), slice(None), *[slice(pad, -pad if pad else None)] * dims)
    widen = [(0, 0), (0, 0), *[(pad, pad)] * dims]
    x, w, g = source.numpy(), weight.numpy(), gradient.numpy()
    if layer.transposed:
        g = np.pad(g, widen)
    else:
        x = np.pad(x, widen)
    sums, of_source, of_weight = (Sums(values=np.zeros(array.shape)) for array in (g, x, w))
    for at_source, at_weight, at_result in terms(layer, tuple(gradient.shape)):
        sums.add(at_result, x[at_source] * w[at_weight])
        of_source.add(at_source, g[at_result] * w[at_weight])
        of_weight.add(at_weight, g[at_result] * x[at_source])
    cropped = sums if layer.transposed else of_source
    cropped.values = cropped.values[inner]
    return sums, of_source, of_weight


def test_dimensions_are_those_of_one_groups_product() -> None:
    # 2 images, 8 channels in 4 groups to 12, kernel 3 x 3 on 10 x 10 without padding: 8 x 8 positions.
    layer = torch.nn.Conv2d(8, 12, 3, groups=4)
    images = torch.ones(2, 8, 10, 10, requires_grad=True)
    works = dict(works_of(lambda: layer(images).sum().backward()))
    forward = 2 * 4 * 128 * 3 * 18
    assert works["convolution.default"] == OperatorWork(forward, 4, 128, 3, 18)
    assert works["convolution_backward.default"] == OperatorWork(2 * forward, 4, 128, 3, 18)


def test_many_groups_cost_little() -> None:
    # Depthwise, 512 channels of 14 x 14, 3 x 3: 2 x 9 x 196 x 512 x 2 images, and twice that for both gradients.
    layer = torch.nn.Conv2d(512, 512, 3, groups=512, padding=1)
    images = torch.empty(2, 512, 14, 14, requires_grad=True)
    works = dict(works_of(lambda: layer(images).sum().backward()))
    one = 2 * 9 * 196 * 512 * 2
    assert [work.flops for work in works.values()] == [one, 2 * one]


def test_a_first_layer_has_no_gradient_of_its_input() -> None:
    layer = torch.nn.Conv2d(3, 8, 3)
    works = dict(works_of(lambda: layer(torch.ones(1, 3, 5, 5)).sum().backward()))
    assert works["convolution_backward.default"].flops == works["convolution.default"].flops


def test_convolutions_of_libraries_count_as_torchs() -> None:
    plain = [(2, 4, 9, 9), (6, 2, 3, 3), None]
    transposed = [(2, 4, 4, 4), (4, 3, 3, 3), None]
    for name, arguments, expected in [
        ("cudnn_convolution", plain, 2 * 49 * 2 * 6 * 2 * 9),
        ("mkldnn_convolution", plain, 2 * 49 * 2 * 6 * 2 * 9),
        ("cudnn_convolution_transpose", transposed, 2 * 16 * 2 * 4 * 3 * 9),
    ]:
        call = OperatorCall(name=name, arguments=arguments, results=[(2, 6, 7, 7)])
        assert count_work(call).flops == expected, name


def test_time_major_convolution() -> None:
    source, weight, bias = torch.ones(7, 2, 3), torch.ones(3, 3, 5), torch.ones(5)
    one = 2 * 5 * 2 * 5 * 3 * 3
    [(_, forward)] = works_of(lambda: aten.conv_tbc(source, weight, bias, 0))
    # Backward is made of products, each of which is counted; where nobody takes it apart it counts by itself.
    parts = works_of(lambda: aten.conv_tbc_backward(torch.ones(5, 2, 5), source, weight, bias, 0))
    with torch.inference_mode():
        [(_, whole)] = works_of(lambda: aten.conv_tbc_backward(torch.ones(5, 2, 5), source, weight, bias, 0))
    assert forward.flops == one
    assert whole.flops == sum(work.flops for _, work in parts) == 2 * one
