"""The optimizers of the zoo, one tensor after the other, and mixed precision.

Note [One tensor at a time]: torch's fused kernels take lists of tensors, and a GPU works through the list in chunks. One
parameter group per tensor gives one call for each, so that no planner, ours or a rival's, is told that the step needs all
state at once.

Note [Master weights]: "bf16-mixed" is how Megatron-LM trains and what ZeRO's table counts (Rajbhandari et al., 2020,
section 3.1): weights and gradients of 2 bytes, and in single precision a master copy of the weights with Adam's two
moments, 16 bytes a parameter. The gradient is cast for one tensor at a time.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
import transformers

from tmtrain.capturing.jobs.options import ResolvedOptions

_Parameters = Iterable[torch.Tensor]


def make_optimizer(network: torch.nn.Module, options: ResolvedOptions) -> torch.optim.Optimizer:
    """Return the optimizer of a zoo model; fused as on accelerators, or of single operators as on CPU."""
    make = _MAKERS[options.optimizer]
    fused = options.operators == "accelerator"
    # Of frozen weights there is neither a gradient nor a master copy.
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if options.precision == "bf16-mixed":
        return MasterWeights(trained, make=lambda master: make([master], fused))
    return make(trained, fused)


class MasterWeights(torch.optim.Optimizer):
    """Steps an optimizer on single-precision copies of the parameters, and copies them back.

    See Note [Master weights]. The state of a parameter is its ``master`` and what the optimizer keeps for that.
    """

    def __init__(
        self, parameters: _Parameters, *, make: Callable[[torch.Tensor], torch.optim.Optimizer]
    ) -> None:
        super().__init__(parameters, {})
        self._inner: dict[torch.Tensor, torch.optim.Optimizer] = {}
        for group in self.param_groups:
            for parameter in group["params"]:
                master = parameter.detach().to(torch.float32)
                self._inner[parameter] = make(master)
                self.state[parameter]["master"] = master

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Step every parameter that has a gradient; there is no closure."""
        assert closure is None, "the step of the zoo has computed its gradients"
        for parameter, inner in self._inner.items():
            if parameter.grad is None:
                continue
            state: dict[str, Any] = self.state[parameter]
            master = state["master"]
            master.grad = parameter.grad.to(torch.float32)
            inner.step()
            master.grad = None
            parameter.copy_(master)
            state.update(inner.state[master])


def _adamw(parameters: _Parameters, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_singly(parameters), lr=1e-4, foreach=False, fused=fused)


def _sgd(parameters: _Parameters, fused: bool) -> torch.optim.Optimizer:
    return torch.optim.SGD(_singly(parameters), lr=1e-3, momentum=0.9, foreach=False, fused=fused)


def _adafactor(parameters: _Parameters, _fused: bool) -> torch.optim.Optimizer:
    # transformers' own, with a fixed learning rate: torch's asks for the value of a norm in every step.
    return transformers.Adafactor(parameters, lr=1e-3, scale_parameter=False, relative_step=False)


def _singly(parameters: _Parameters) -> list[dict[str, list[torch.Tensor]]]:
    return [{"params": [parameter]} for parameter in parameters]


_MAKERS: dict[str, Callable[[_Parameters, bool], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "adafactor": _adafactor,
}
