"""Convolutions: every result is a sum over a window of one group's channels, padding included.

A transposed convolution is the same sum from the other side: every element of its input is spread over a window. Each
gradient is a sum of as many products as forward: every product of forward has one with the gradient of its result in each.
"""

from collections.abc import Mapping
from math import prod

from tmtrain.counting.call import OperatorCall, Shape
from tmtrain.counting.formula import Formula
from tmtrain.counting.work import OperatorWork, product_work


def _convolution(
    result: Shape, source: Shape, weight: Shape, *, transposed: bool, products: int = 1
) -> OperatorWork:
    if transposed:  # weight: channels in, channels out of a group, window
        groups = max(1, result[1] // weight[1])
        positions, columns, summed = _positions(source), prod(weight[1:]), weight[0] // groups
    else:  # weight: channels out, channels in of a group, window
        groups = max(1, source[1] // weight[1])
        positions, columns, summed = _positions(result), weight[0] // groups, prod(weight[1:])
    return product_work(groups, positions, columns, summed, products=products)


def _positions(images: Shape) -> int:
    return images[0] * prod(images[2:])


def _forward(*, transposed: bool = False) -> Formula:
    return lambda call: _convolution(call.result, call.shape(0), call.shape(1), transposed=transposed)


def _forward_of_either_kind(call: OperatorCall) -> OperatorWork:
    return _convolution(call.result, call.shape(0), call.shape(1), transposed=call.is_true(6))


def _backward(*, mask: int, transposed: int | None = None) -> Formula:
    def formula(call: OperatorCall) -> OperatorWork:
        products = sum((call.wanted(mask) or (True, True))[:2])
        return _convolution(
            call.shape(0),
            call.shape(1),
            call.shape(2),
            transposed=transposed is not None and call.is_true(transposed),
            products=products,
        )

    return formula


def _time_major(call: OperatorCall) -> OperatorWork:
    """``conv_tbc``: weight has the form (window, channels in, channels out)."""
    return _windows(call.result, call.shape(1))


def _time_major_backward(call: OperatorCall) -> OperatorWork:
    return _windows(call.shape(0), call.shape(2), products=2)


def _windows(result: Shape, weight: Shape, *, products: int = 1) -> OperatorWork:
    return product_work(1, result[0] * result[1], weight[2], weight[0] * weight[1], products=products)


_PLAIN = (
    *(
        "conv1d",
        "conv2d",
        "conv3d",
        "thnn_conv2d",
        "slow_conv3d",
        "slow_conv3d_forward",
        "_slow_conv2d_forward",
    ),
    *(
        "slow_conv_dilated2d",
        "slow_conv_dilated3d",
        "_conv_depthwise2d",
        "conv_depthwise3d",
        "_nnpack_spatial_convolution",
    ),
    *("cudnn_convolution", "cudnn_convolution_relu", "cudnn_convolution_add_relu", "mkldnn_convolution"),
    *(
        "miopen_convolution",
        "miopen_depthwise_convolution",
        "miopen_convolution_relu",
        "miopen_convolution_add_relu",
    ),
    "_convolution_pointwise",
)
_TRANSPOSED = (
    *(
        "conv_transpose1d",
        "conv_transpose2d",
        "conv_transpose3d",
        "slow_conv_transpose2d",
        "slow_conv_transpose3d",
    ),
    *("cudnn_convolution_transpose", "miopen_convolution_transpose", "_convolution_transpose_pointwise"),
)
CONVOLUTIONS: Mapping[str, Formula] = {
    **dict.fromkeys(_PLAIN, _forward()),
    **dict.fromkeys(_TRANSPOSED, _forward(transposed=True)),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _forward_of_either_kind),
    "convolution_backward": _backward(mask=10, transposed=7),
    "convolution_backward_overrideable": _backward(mask=9, transposed=6),
    "_slow_conv2d_backward": _backward(mask=6),
    "conv_tbc": _time_major,
    "conv_tbc_backward": _time_major_backward,
}
