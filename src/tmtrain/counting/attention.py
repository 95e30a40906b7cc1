"""Fused attention: products of queries with keys, and of scores with values.

Causal attention counts the scores that are needed, about half: the fused kernels skip blocks above the diagonal (Dao,
"FlashAttention-2", 2023, section 3.1; torch's CPU kernel ends its loop over keys at the diagonal). torch's own counter
says twice as much. A kernel's own window counts likewise. Where a tensor masks scores, all are computed, and count.

Sequences that are packed into one have ends in a tensor. They count as sequences of equal length, which is the least that
such a batch can be.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tmtrain.counting.call import OperatorCall
from tmtrain.counting.formula import Formula
from tmtrain.counting.work import OperatorWork


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionForm:
    """Where an attention operator has its arguments; a `Formula`."""

    query: int = 0
    """Key and value follow. Before them is the gradient of the result, in backward."""
    causal: int
    """A flag, or a kind of mask: 0 is none."""
    heads: int = 1
    """Dimension of the heads; the lengths are in the other of 1 and 2."""
    is_backward: bool = False
    window: int | None = None
    """How many keys before its own a causal row sees, where there is a window."""
    ends: int | None = None
    """Of packed sequences of queries; those of keys follow."""

    def __call__(self, call: OperatorCall) -> OperatorWork:
        """Return the work of one call."""
        query, key, value = (call.shape(self.query + i) for i in range(3))
        ends = None if self.ends is None or len(call.arguments) <= self.ends else call.arguments[self.ends]
        packed = ends[0] - 1 if isinstance(ends, tuple) and ends and ends[0] > 1 else 0
        if len(query) == 3:  # packed sequences have no batch
            query, key, value = (1, *query), (1, *key), (1, *value)
        length = 3 - self.heads
        rows, keys = query[length], key[length]
        if packed:
            rows, keys = -(-rows // packed), -(-keys // packed)
        batch = query[0] * query[self.heads] * max(1, packed)
        scores = batch * _scores(rows, keys, is_causal=self._is_causal(call), before=self._before(call))
        d, d_value = query[3], value[3]
        # Backward: scores again, then the gradients of value, scores, query and key.
        flops = 2 * scores * (3 * d + 2 * d_value if self.is_backward else d + d_value)
        return OperatorWork(flops, batch, rows, keys, d)

    def _is_causal(self, call: OperatorCall) -> bool:
        flag = call.arguments[self.causal] if len(call.arguments) > self.causal else False
        return isinstance(flag, int) and flag > 0

    def _before(self, call: OperatorCall) -> int | None:
        if self.window is None or len(call.arguments) <= self.window:
            return None
        size = call.arguments[self.window]
        return size if isinstance(size, int) and size >= 0 else None


def _scores(rows: int, keys: int, *, is_causal: bool, before: int | None = None) -> int:
    """Return how many scores are needed; a causal row sees as many keys as its number, from 1, or those of its window.

    >>> _scores(3, 4, is_causal=True), _scores(4, 3, is_causal=True), _scores(5, 5, is_causal=True, before=1)
    (6, 9, 9)
    """
    if not is_causal:
        return rows * keys
    if before is not None and before < keys:
        keys = before + 1
    square = min(rows, keys)
    return square * (square + 1) // 2 + (rows - square) * keys


def _with_projections(call: OperatorCall) -> OperatorWork:
    """``_native_multi_head_attention``: torch's fast path of evaluation, with the projections before and behind."""
    query, key, value = (call.shape(i) for i in range(3))
    inner = _self_attention(query, key[1])
    width, rows, other = query[-1], query[0] * query[1], key[0] * key[1] + value[0] * value[1]
    return inner._replace(flops=inner.flops + 2 * width * width * (2 * rows + other))


def _encoder_layer(call: OperatorCall) -> OperatorWork:
    """``_transformer_encoder_layer_fwd``: the same with the feed-forward part."""
    source = call.shape(0)
    rows = source[0] * source[1]
    weights = [call.shape(i) for i in (3, 5, 14, 16)]
    inner = _self_attention(source, source[1])
    return inner._replace(flops=inner.flops + 2 * rows * sum(out * into for out, into in weights))


def _self_attention(source: tuple[int, ...], keys: int) -> OperatorWork:
    batch, rows, width = source
    return OperatorWork(4 * batch * rows * keys * width, batch, rows, keys, width)


def _backward(
    causal: int, *, heads: int = 1, ends: int | None = None, window: int | None = None
) -> AttentionForm:
    return AttentionForm(query=1, causal=causal, heads=heads, is_backward=True, ends=ends, window=window)


ATTENTION: Mapping[str, Formula] = {
    "scaled_dot_product_attention": AttentionForm(causal=5),
    "_scaled_dot_product_flash_attention": AttentionForm(causal=4),
    "_scaled_dot_product_flash_attention_backward": _backward(11),
    "_scaled_dot_product_flash_attention_for_cpu": AttentionForm(causal=4),
    "_scaled_dot_product_flash_attention_for_cpu_backward": _backward(7),
    "_scaled_dot_product_efficient_attention": AttentionForm(causal=6),
    "_scaled_dot_product_efficient_attention_backward": _backward(11),
    "_scaled_dot_product_cudnn_attention": AttentionForm(causal=6),
    "_scaled_dot_product_cudnn_attention_backward": _backward(14),
    "_scaled_dot_product_fused_attention_overrideable": AttentionForm(causal=5),
    "_scaled_dot_product_fused_attention_overrideable_backward": _backward(13),
    "_flash_attention_forward": AttentionForm(causal=8, heads=2, ends=3, window=11),
    "_flash_attention_forward_no_dropout_inplace": AttentionForm(query=1, causal=9, heads=2, ends=4),
    "_flash_attention_backward": _backward(11, heads=2, ends=6, window=15),
    "_efficient_attention_forward": AttentionForm(causal=9, heads=2, ends=4),
    "_efficient_attention_backward": _backward(14, heads=2, ends=6),
    "_cudnn_attention_forward": AttentionForm(causal=10, ends=4),
    "_cudnn_attention_backward": _backward(14),
    "_native_multi_head_attention": _with_projections,
    "_transformer_encoder_layer_fwd": _encoder_layer,
}
