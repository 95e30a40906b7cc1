"""Where in the step an operator runs: its phase and the module it belongs to."""

import bisect
import threading
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from tmtrain.capturing.internals import in_backward, next_node_number, running_node
from tmtrain.capturing.owned import parameter_names
from tmtrain.trace import Phase


class Scope:
    """Follows the step through hooks on modules and optimizer; all are removed on exit.

    Note [Module of a backward operator]: autograd numbers its nodes in the order in which forward adds them. At each
    module boundary in forward the next number is noted, so the number of the node that runs in backward says
    which module added it. No hook hangs on a tensor: those keep recomputed activations alive
    (`torch.utils.module_tracker` does, six-fold peak under checkpointing).

    Note [Phase after backward]: what an operator after backward is for is known only by what follows it. Before
    another forward (gradient accumulation) it makes data, else it belongs to the optimizer (clipping,
    ``zero_grad``). What an optimizer does that is stepped by a hook inside backward is the optimizer's.
    """

    def __init__(self, model: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> None:
        self.phases: list[Phase] = []
        self.modules: list[str] = []
        self.optimizer_steps = 0
        self._optimizers = optimizers
        self._optimizer_depth = 0
        self._paths = {module: path for path, module in model.named_modules()}
        self.parameter_names = parameter_names(model, *optimizers)
        self._stack: list[str] = []
        self._section: Phase | None = Phase.DATA
        self._undecided: list[int] = []
        self._thread = threading.get_ident()
        self._boundary_numbers: list[int] = []
        self._boundary_paths: list[str] = []
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as hooks:
            hooks.callback(register_module_forward_pre_hook(self._enter_module).remove)
            hooks.callback(register_module_forward_hook(self._leave_module, always_call=True).remove)
            for optimizer in self._optimizers:
                hooks.callback(optimizer.register_step_pre_hook(self._enter_optimizer).remove)
                hooks.callback(optimizer.register_step_post_hook(self._leave_optimizer).remove)
            self._hooks = hooks.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.close()
        self._decide(Phase.OPTIMIZER)

    def note_operator(self) -> None:
        """Note phase and module of the operator that has just run."""
        phase, module = self.where()
        if phase is None:
            self._undecided.append(len(self.phases))
        if phase is Phase.BACKWARD:
            self._section = None
        self.phases.append(Phase.OPTIMIZER if phase is None else phase)
        self.modules.append(module)

    def where(self) -> tuple[Phase | None, str]:
        """Return phase (None: not known yet) and module path of what runs now."""
        if in_backward() and not self._optimizer_depth:
            return Phase.BACKWARD, self._stack[-1] if self._stack else self._module_of_node()
        return self._section, self._stack[-1] if self._stack else ""

    def describe(self) -> str:
        """Return phase and module path of what runs now, in words for a message."""
        phase, module = self.where()
        part = "the end of the step" if phase is None else phase.name.lower()
        return f"{part} of module {module!r}" if module else part

    def _module_of_node(self) -> str:
        node = running_node()
        if node is None:
            return ""
        if isinstance(node, torch.Tensor):
            return self.parameter_names.get(node, "").rpartition(".")[0]
        boundary = bisect.bisect_right(self._boundary_numbers, node) - 1
        return self._boundary_paths[boundary] if boundary >= 0 else ""

    def _enter_module(self, module: torch.nn.Module, _args: Any) -> None:
        path = self._paths.get(module)
        if path is None:
            return
        if not self._stack and not in_backward():
            self._decide(Phase.DATA)
            self._section = Phase.FORWARD
        self._stack.append(path)
        self._mark_boundary()

    def _leave_module(self, module: torch.nn.Module, _args: Any, _result: Any) -> None:
        if module not in self._paths:
            return
        self._stack.pop()
        if not self._stack and not in_backward():
            self._section = Phase.LOSS
        self._mark_boundary()

    def _mark_boundary(self) -> None:
        # Numbers are per thread: those of a CUDA backward thread (reentrant checkpointing) cannot be
        # compared.
        if threading.get_ident() == self._thread:
            self._boundary_numbers.append(next_node_number())
            self._boundary_paths.append(self._stack[-1] if self._stack else "")

    def _enter_optimizer(self, _optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self.optimizer_steps += 1
        self._optimizer_depth += 1
        self._decide(Phase.OPTIMIZER)
        self._section = Phase.OPTIMIZER

    def _leave_optimizer(self, _optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self._optimizer_depth -= 1

    def _decide(self, phase: Phase) -> None:
        for op in self._undecided:
            self.phases[op] = phase
        self._undecided.clear()
