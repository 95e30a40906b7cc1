"""Apply a checkpoint policy to a live model. Imports torch: `import tmtrain.exports` alone does not.

>>> from tmtrain.exports.live.checkpoint import apply_checkpoint_policy
>>> from tmtrain.exports.checkpoint_policy import load_checkpoint_policy
>>> apply_checkpoint_policy(model, load_checkpoint_policy("gpt2.sac.json"))  # doctest: +SKIP
"""

from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from tmtrain.errors import InputError
from tmtrain.exports.checkpoint_policy import LayerPolicy, SelectivePolicy
from tmtrain.exports.layers import UNSEEN

Offload: TypeAlias = Literal["save", "cpu"]
"""What becomes of results that the plan moves: eager torch keeps them; under `torch.compile` they go to CPU memory."""


class PolicyFn:
    """The `policy_fn` of one forward of one layer: it counts the calls of each operator."""

    def __init__(self, layer: LayerPolicy, *, path: str, offload: Offload = "save") -> None:
        self._layer, self._path = layer, path
        self._away = _offload_policy(offload)
        self._seen: Counter[str] = Counter()

    def __call__(self, _context: Any, op: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
        """Say what becomes of the result of `op`.

        Raises:
            InputError: the layer runs an operator that the policy does not know, or more calls of it.
        """
        name, layer = str(op), self._layer
        # What is no operator of torch's own may be there for other reasons than the model (profilers, collectives).
        if name in UNSEEN or (name not in layer.calls and not name.startswith("aten.")):
            return CheckpointPolicy.PREFER_RECOMPUTE
        call, most = self._seen[name], layer.calls.get(name, 0)
        self._seen[name] += 1
        if call >= most:
            raise InputError(
                f"module {self._path!r} calls {name} more often than in the step that was planned ({most} times): capture "
                "and plan the step as it is trained (device, dtype, attention, dropout, sizes), then export again"
            )
        if call in layer.save.get(name, ()):
            return CheckpointPolicy.MUST_SAVE
        return self._away if call in layer.offload.get(name, ()) else CheckpointPolicy.PREFER_RECOMPUTE


def context_fn(
    layer: LayerPolicy, *, path: str, offload: Offload = "save", buffers: Sequence[torch.Tensor] = ()
) -> Callable[[], tuple[Any, Any]]:
    """Return the `context_fn` of one layer, for `torch.utils.checkpoint.checkpoint`.

    Args:
        layer: What becomes of its operators.
        path: Of the module, for messages.
        offload: What becomes of results that the plan moves.
        buffers: What the layer may update: running statistics are put back after it ran again.

    Raises:
        InputError: this torch cannot offload.
    """

    def contexts() -> tuple[Any, Any]:
        first, again = create_selective_checkpoint_contexts(PolicyFn(layer, path=path, offload=offload))
        return first, _restoring(buffers, again) if buffers else again

    _offload_policy(offload)
    return contexts


@contextmanager
def _restoring(buffers: Sequence[torch.Tensor], context: Any) -> Generator[None]:
    before = [buffer.detach().clone() for buffer in buffers]
    try:
        with context:
            yield
    finally:
        for buffer, value in zip(buffers, before, strict=True):
            # Autograd, which holds on to buffers for backward, must not see a new version of them.
            buffer.data.copy_(value)


def apply_checkpoint_policy(
    model: torch.nn.Module, policy: SelectivePolicy, *, offload: Offload = "save"
) -> None:
    """Wrap the forward of the layers that `policy` names, in place; all others stay as they are.

    Training gives the same bits as without: random operators draw the same numbers again, buffers are put back. Known
    limitations: a layer must not keep a cache from its forward (transformers: ``use_cache=False``); results that the plan
    moves are kept unless `offload` is "cpu", which eager torch 2.13 takes for "recompute": it is for `torch.compile`.

    Args:
        model: The model of the step that was planned.
        policy: From `tmtrain.exports.load_checkpoint_policy`.
        offload: What becomes of results that the plan moves.

    Raises:
        InputError: the model lacks a module, or one is wrapped already. Nothing is wrapped then.
    """
    modules = dict(model.named_modules())
    missing = [path for path in policy.layers if path not in modules]
    if missing:
        raise InputError(
            f"the policy for {policy.model} is about module {missing[0]!r}, which {type(model).__name__} lacks: "
            "apply it to the model that was captured, before it is wrapped by anything that changes names"
        )
    wrapped = [path for path in policy.layers if isinstance(modules[path].forward, _RunAgain)]
    if wrapped:
        raise InputError(f"module {wrapped[0]!r} has a checkpoint policy already: apply one, once")
    for path, layer in policy.layers.items():
        # The forward alone, as transformers does it: hooks of the module itself run once.
        buffers = tuple(modules[path].buffers())
        contexts = context_fn(layer, path=path, offload=offload, buffers=buffers)
        modules[path].forward = _RunAgain(modules[path].forward, contexts)


class _RunAgain:
    """A forward whose operators run again in backward where its policy says so."""

    def __init__(self, forward: Callable[..., Any], contexts: Callable[[], tuple[Any, Any]]) -> None:
        self._forward, self._contexts = forward, contexts

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # The reentrant kind knows no policies.
        return checkpoint(self._forward, *args, use_reentrant=False, context_fn=self._contexts, **kwargs)


def _offload_policy(offload: Offload) -> CheckpointPolicy:
    if offload == "save":
        return CheckpointPolicy.MUST_SAVE
    policy: CheckpointPolicy | None = getattr(CheckpointPolicy, "MUST_CPU_OFFLOAD", None)
    if policy is None:
        raise InputError(
            f"torch {torch.__version__} cannot offload in a checkpoint policy (2.13 can): use offload='save'"
        )
    return policy
