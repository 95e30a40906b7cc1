"""Cross-entropy in one kernel, which keeps the logits and one log-sum-exp per row, and writes no second table.

As the fused kernels of Apex (`apex/contrib/xentropy`) and Liger do; torch's own composition keeps the logarithms of all
probabilities, on CPU and CUDA alike. The numbers are computed in single precision inside. On real tensors it computes what
`torch.nn.functional.cross_entropy` does.
"""

from typing import Any

import torch

from tmtrain.capturing.operators.autocast import raised

_MEAN = 1
_SUM = 2
"""`torch.nn._reduction`."""


def cross_entropy(
    input: torch.Tensor,  # noqa: A002
    target: torch.Tensor,
    weight: torch.Tensor | None = None,
    reduction: int = _MEAN,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """The function behind `torch.nn.functional.cross_entropy`; class weights, smoothing, other shapes: torch's way."""
    is_plain = input.dim() == 2 and target.dim() == 1 and weight is None and not label_smoothing
    if not is_plain or reduction not in (_MEAN, _SUM):
        return NotImplemented
    (input,) = raised(input)  # noqa: A001
    return _forward(input, target, ignore_index, reduction == _MEAN)[0]


@torch.library.custom_op("tmtrain::cross_entropy", mutates_args=())
def _forward(
    logits: torch.Tensor, target: torch.Tensor, ignore_index: int, mean: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the loss, the log-sum-exp of each row, and what the gradient of a row is multiplied by."""
    counted = target != ignore_index
    rows = logits.float()
    log_sum_exp = rows.logsumexp(1)
    chosen = rows.gather(1, target.where(counted, 0)[:, None])[:, 0]
    scale = counted.sum().float().reciprocal() if mean else torch.ones((), device=logits.device)
    return ((log_sum_exp - chosen) * counted).sum().mul(scale).to(logits.dtype), log_sum_exp, scale


@_forward.register_fake
def _(
    logits: torch.Tensor, _target: torch.Tensor, _ignore_index: int, _mean: bool
) -> tuple[torch.Tensor, ...]:
    return (
        logits.new_empty(()),
        logits.new_empty(logits.shape[0], dtype=torch.float32),
        logits.new_empty((), dtype=torch.float32),
    )


@torch.library.custom_op("tmtrain::cross_entropy_backward", mutates_args=())
def _backward(
    gradient: torch.Tensor,
    logits: torch.Tensor,
    target: torch.Tensor,
    log_sum_exp: torch.Tensor,
    scale: torch.Tensor,
    ignore_index: int,
) -> torch.Tensor:
    counted = target != ignore_index
    shares = (logits.float() - log_sum_exp[:, None]).exp()
    shares[torch.arange(len(target), device=target.device), target.where(counted, 0)] -= 1
    return (shares * (counted * scale * gradient)[:, None]).to(logits.dtype)


@_backward.register_fake
def _(_gradient: torch.Tensor, logits: torch.Tensor, *_rest: Any) -> torch.Tensor:
    return torch.empty_like(logits)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
    logits, target, ctx.ignore_index, _mean = inputs
    _loss, log_sum_exp, scale = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(logits, target, log_sum_exp, scale)


def _derive(ctx: Any, gradient: torch.Tensor, *_others: Any) -> tuple[torch.Tensor | None, ...]:
    return _backward(gradient, *ctx.saved_tensors, ctx.ignore_index), None, None, None


_forward.register_autograd(_derive, setup_context=_save)
