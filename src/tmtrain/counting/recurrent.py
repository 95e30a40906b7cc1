"""Recurrent layers that are one operator: every vector of the input meets every weight matrix once."""

from collections.abc import Mapping, Sequence
from math import prod

from tmtrain.counting.call import OperatorCall, Shape
from tmtrain.counting.formula import Formula
from tmtrain.counting.work import OperatorWork


def _layers(source: Shape, weights: Sequence[Shape], *, steps: int, products: int = 1) -> OperatorWork:
    """Work of `source` (rows of any form, features) through all `weights`; its dimensions are those of one step."""
    matrices = [weight for weight in weights if len(weight) == 2]
    rows, recurrent = prod(source[:-1]), matrices[1]
    flops = 2 * rows * sum(map(prod, matrices)) * products
    return OperatorWork(flops, steps, -(-rows // steps), recurrent[0], recurrent[1])


def _mkldnn(*, products: int) -> Formula:
    return lambda call: _layers(
        call.shape(0), [call.shape(1), call.shape(2)], steps=call.shape(0)[0], products=products
    )


def _stack(*, weights: int, batch_first: int, sizes: int, mask: int | None = None) -> Formula:
    """A stack of layers as one operator.

    Args:
        weights: Position of the list of all weights and biases.
        batch_first: Position of the argument of that name.
        sizes: Position of ``batch_sizes``, one for each step, where sequences are packed.
        mask: Position of ``output_mask``, whose last item asks for the gradients of weights. Backward goes through the
            layers for it in any case.
    """

    def formula(call: OperatorCall) -> OperatorWork:
        source = call.shape(0)
        steps = (
            source[1 if call.is_true(batch_first) else 0] if len(source) == 3 else len(call.arguments[sizes])
        )
        wanted = None if mask is None else call.wanted(mask)
        products = 1 if mask is None else 1 + (wanted is None or wanted[-1])
        return _layers(source, call.shapes(weights), steps=steps, products=products)

    return formula


def _torch(call: OperatorCall) -> OperatorWork:
    """``lstm`` and its like: input, state, weights, ..., or packed: rows, sizes, state, weights, ..."""
    if not isinstance(call.arguments[3], list):
        return _stack(weights=2, batch_first=8, sizes=0)(call)
    return _layers(call.shape(0), call.shapes(3), steps=call.shape(1)[0])


def _cell(call: OperatorCall) -> OperatorWork:
    return _layers(call.shape(0), [call.shape(2), call.shape(3)], steps=1)


RECURRENT: Mapping[str, Formula] = {
    "mkldnn_rnn_layer": _mkldnn(products=1),
    "mkldnn_rnn_layer_backward": _mkldnn(products=2),
    "_cudnn_rnn": _stack(weights=1, batch_first=10, sizes=14),
    "_cudnn_rnn_backward": _stack(weights=1, batch_first=14, sizes=18, mask=21),
    "miopen_rnn": _stack(weights=1, batch_first=8, sizes=12),
    "miopen_rnn_backward": _stack(weights=1, batch_first=13, sizes=17, mask=20),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _torch),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), _cell),
}
