"""The context manager round the user's own step."""

import gc
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.optim.optimizer import register_optimizer_step_pre_hook

from tmtrain.capturing.assemble import assemble_trace
from tmtrain.capturing.faults import FaultWatch, refuse_distributed
from tmtrain.capturing.jobs.job import optimizers_of
from tmtrain.capturing.jobs.options import Operators
from tmtrain.capturing.ledger import StorageLedger, dtype_name
from tmtrain.capturing.operators.choice import running
from tmtrain.capturing.owned import Owned, Owner, gradients, owned_tensors
from tmtrain.capturing.recorder import Recorder, Recording
from tmtrain.capturing.scope import Scope
from tmtrain.errors import CaptureError
from tmtrain.trace import Trace


class CaptureSession:
    """Records the step that runs inside; what `tmtrain.capture` returns.

    Note [Garbage]: the cyclic garbage collector runs when Python pleases, so a storage held by a reference
    cycle would die at another operator in every recording. It is run before the step and kept from running in
    it; what cycles hold then lives to the end of the step.

    Args:
        model: As for `tmtrain.capture`, like `optimizer`, `name` and `samples`.
        optimizer: One, several in a list, or None.
        name: Of the model in the trace.
        samples: In the batch of one step.
        options: What the trace says about the step.
        alone: Refuse a rank of a parallel training. A real run records what its rank really does.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        *,
        name: str,
        samples: int,
        options: dict[str, Any],
        alone: bool = False,
        operators: Operators = "cpu",
    ) -> None:
        if not isinstance(model, torch.nn.Module):
            raise CaptureError(f"the model is a {type(model).__name__}, a torch.nn.Module is needed")
        if alone:
            refuse_distributed(model.named_parameters())
        if samples < 1:
            raise CaptureError(f"samples is {samples}, a step has at least 1")
        if operators == "accelerator" and not all(isinstance(p, FakeTensor) for p in model.parameters()):
            raise CaptureError(
                "the operators of an accelerator can be had for fake tensors only, and the model's are real: build it"
                ' under torch\'s FakeTensorMode, or leave out operators="accelerator"'
            )
        self._model: torch.nn.Module = model
        self._optimizers = optimizers_of(optimizer)
        self._name = name
        self._samples = samples
        self._alone = alone
        self._operators: Operators = operators
        self._options = _describe(model, self._optimizers) | options
        self._ledger = StorageLedger()
        self._scope = Scope(model, *self._optimizers)
        self._recorder = Recorder(self._scope, self._ledger)
        self._owners: dict[int, Owner] = {}
        self._exits = ExitStack()
        self._trace: Trace | None = None
        self._recording: Recording | None = None
        self.living: dict[int, int] = {}
        """Numbers in the recording of the storages that the step left alive, by `storage_key`."""

    @property
    def recording(self) -> Recording:
        """What the trace was assembled from; as `trace`."""
        if self._recording is None:
            raise CaptureError("there is no recording before the `with` block has ended without error")
        return self._recording

    @property
    def ledger(self) -> StorageLedger:
        """The storages, while the step runs."""
        return self._ledger

    @property
    def trace(self) -> Trace:
        """The step that ran inside.

        Raises:
            CaptureError: the block has not ended yet, or ended with an error.
        """
        if self._trace is None:
            raise CaptureError("there is no trace before the `with` block has ended without error")
        return self._trace

    def __enter__(self) -> Self:
        if self._recorder.operators or self._trace is not None:
            raise CaptureError("a capture records one step: call tmtrain.capture(...) again for another one")
        with ExitStack() as exits:
            self._pause_garbage_collector(exits)
            exits.callback(self._ledger.close)
            self._note_owned()
            self._ledger.add_everything()
            for optimizer in self._optimizers:
                exits.callback(optimizer.register_step_pre_hook(self._note_gradients).remove)
            if not self._optimizers:
                exits.callback(register_optimizer_step_pre_hook(_refuse_optimizer).remove)
                for leaf in filter(_takes_gradient, self._scope.parameter_names):
                    exits.callback(leaf.register_post_accumulate_grad_hook(self._note_gradient).remove)
            exits.enter_context(self._scope)
            exits.enter_context(running(self._operators))
            exits.enter_context(self._recorder)
            if self._alone:
                exits.enter_context(FaultWatch(self._scope))
            self._exits = exits.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                # Once more: gradients and state that the step allocated have an owner only now. Before the ledger is
                # closed, which forgets what lives.
                self._note_owned()
                self.living = self._ledger.living
        finally:
            self._exits.close()
        if error is None:
            self._trace = self._assemble()

    def _note_owned(self) -> None:
        self._enter_owners(owned_tensors(self._model, *self._optimizers))

    def _note_gradients(self, _optimizer: Any, _args: Any, _kwargs: Any) -> None:
        self._enter_owners(gradients(self._scope.parameter_names))

    def _note_gradient(self, parameter: torch.Tensor) -> None:
        self._enter_owners(gradients({parameter: self._scope.parameter_names[parameter]}))

    def _enter_owners(self, tensors: Iterable[Owned]) -> None:
        at_start = not self._recorder.operators
        # The first owner counts: of tied parameters the first name, of a gradient what it was before it was replaced.
        for tensor, owner in tensors:
            self._owners.setdefault(self._ledger.add(tensor, existed=at_start), owner)

    def _pause_garbage_collector(self, exits: ExitStack) -> None:
        gc.collect()
        if gc.isenabled():
            gc.disable()
            exits.callback(gc.enable)

    def _assemble(self) -> Trace:
        if self._optimizers and self._scope.optimizer_steps == 0:
            raise CaptureError(
                "a trace without optimizer step: call the captured optimizer's step() inside the `with` block, or"
                " give None as the optimizer of a step that trains nothing"
            )
        self._recording = recording = Recording(
            operators=self._recorder.operators,
            phases=self._scope.phases,
            modules=self._scope.modules,
            operands=self._recorder.operands,
            storages=self._ledger.records,
            owners=self._owners,
        )
        return assemble_trace(recording, model=self._name, samples=self._samples, options=self._options)


def _refuse_optimizer(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    raise CaptureError(
        f"the step calls step() of a {type(optimizer).__name__}, but the capture was given no optimizer:"
        " its state would be taken for data; give it beside the model"
    )


def _takes_gradient(parameter: torch.Tensor) -> bool:
    return parameter.requires_grad and parameter.is_leaf


def _describe(model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    first = next(model.parameters(), None)
    return {
        "dtype": None if first is None else dtype_name(first.dtype),
        "optimizer": ", ".join(dict.fromkeys(type(one).__name__ for one in optimizers)) or None,
        "torch": str(torch.__version__),
    }
