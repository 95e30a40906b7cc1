"""The recorder: a dispatch mode that writes down every ATen operator of the step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.faults import run_operator
from tmtrain.capturing.ledger import NoStorageError, StorageLedger, StorageRecord
from tmtrain.capturing.owned import Owner
from tmtrain.capturing.scope import Scope
from tmtrain.capturing.signature import Signature, signature_of
from tmtrain.capturing.work import work_of
from tmtrain.counting import OperatorWork
from tmtrain.errors import CaptureError
from tmtrain.trace import Operands, Phase
from tmtrain.trace.rows import OperandRow, span_elements


class OperatorRecord(NamedTuple):
    """One operator as it ran."""

    name: str
    work: OperatorWork
    is_view: bool
    is_pointwise: bool
    is_random: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that was recorded of one step, before it becomes a Trace; a storage is a number, its index in `storages`."""

    operators: Sequence[OperatorRecord]
    phases: Sequence[Phase]
    modules: Sequence[str]
    operands: Sequence[OperandRow]
    storages: Sequence[StorageRecord]
    owners: dict[int, Owner]
    """What model and optimizer owned at the start, at an optimizer step or at the end."""


class Recorder(TorchDispatchMode):
    """Records operators, operands and, through the ledger, storages; enter it inside a fake tensor mode.

    It sees operators below autograd and above the fake tensors' decompositions: the same operators for real and
    for fake tensors.
    """

    def __init__(self, scope: Scope, ledger: StorageLedger) -> None:
        super().__init__()
        self.operators: list[OperatorRecord] = []
        self.operands: list[OperandRow] = []
        self._scope = scope
        self._ledger = ledger

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and write it down."""
        kwargs = kwargs or {}
        if not isinstance(func, OpOverload):
            raise CaptureError(
                f"{func} is a higher-order operator, which cannot be recorded: use plain ones",
                operator=f"{func}",
            )
        signature = signature_of(func)
        if not signature.recorded:
            return func(*args, **kwargs)
        try:
            return self._record(func, signature, args, kwargs)
        except NoStorageError as error:
            raise CaptureError(
                f"operator {func} in {self._scope.describe()}: {error}",
                operator=f"{func}",
                module=self._scope.where()[1] or None,
            ) from error

    def _record(
        self, func: OpOverload, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        first = len(self.operands)
        # Before the operator runs, so that a result that is an argument is not taken for new memory.
        self._record_arguments(signature, args, kwargs)
        out = run_operator(func, args, kwargs, scope=self._scope)
        self._scope.note_operator()
        self._grow_written(signature, args, kwargs)
        self._record_results(signature, out)
        is_view = self._close_view(signature, first)
        work = work_of(func, args, kwargs, out)
        self.operators.append(
            OperatorRecord(signature.name, work, is_view, signature.pointwise, signature.draws(args))
        )
        # Last: what dies inside the operator dies at its index, what dies after it at the next one.
        self._ledger.finish_operator()
        return out

    def _record_arguments(self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        fresh = signature.short_name == "lift_fresh"
        for argument in signature.arguments:
            value = _value(argument.position, argument.name, args, kwargs)
            for item, tensor in _tensors(value):
                # torch.tensor(...) makes its data unseen and lifts it: it is born here, as a result.
                if fresh and self._ledger.find(tensor) is None:
                    continue
                number = self._ledger.add(tensor)
                self._row(
                    tensor, argument.position, item, number, reads=argument.reads, writes=argument.writes
                )

    def _grow_written(self, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not signature.writes_argument:
            return
        for argument in signature.arguments:
            if argument.writes:
                for _, tensor in _tensors(_value(argument.position, argument.name, args, kwargs)):
                    self._ledger.grow(self._ledger.add(tensor), tensor)

    def _record_results(self, signature: Signature, out: Any) -> None:
        results = out if signature.num_results > 1 else (out,)
        # Storages are numbered as they are met, so a number from here on is memory that this operator took. The
        # schema does not say so: a result may be new, an argument, or (two results of one storage) met just now.
        first_new = len(self._ledger.records)
        for index, result in enumerate(results):
            for item, tensor in _tensors(result):
                next_number = len(self._ledger.records)
                maker = f"{signature.short_name}#{self._ledger.now}.{index + item}"
                number = self._ledger.add(tensor, maker=maker)
                self._row(
                    tensor,
                    Operands.RESULT + index,
                    item,
                    number,
                    writes=number >= first_new and signature.writes_results,
                    allocates=number >= next_number,
                )

    def _close_view(self, signature: Signature, first: int) -> bool:
        """Return whether the operator from row `first` on touched no byte, and clear its reads then.

        The schema is not enough: ``_unsafe_view`` aliases without saying so, ``reshape`` may copy.
        """
        rows = self.operands[first:]
        arguments = {row.storage for row in rows if row.position < Operands.RESULT}
        results = [row for row in rows if row.position >= Operands.RESULT]
        if signature.writes_argument or not results or any(row.storage not in arguments for row in results):
            return False
        self.operands[first:] = [row._replace(reads=False) for row in rows]
        return True

    def _row(
        self,
        tensor: torch.Tensor,
        position: int,
        item: int,
        storage: int,
        *,
        reads: bool = False,
        writes: bool = False,
        allocates: bool = False,
    ) -> None:
        shape, stride, itemsize = tuple(tensor.shape), tensor.stride(), tensor.itemsize
        self.operands.append(
            OperandRow(
                self._ledger.now,
                position,
                item,
                storage,
                reads,
                writes,
                allocates,
                int(tensor.storage_offset()) * itemsize,
                span_elements(shape, stride) * itemsize,
                itemsize,
                shape,
                stride,
            )
        )


def _value(position: int, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[position] if position < len(args) else kwargs.get(name)


def _tensors(value: Any) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield the tensors in an argument or result, with the index inside its list."""
    if isinstance(value, torch.Tensor):
        yield 0, value
    elif isinstance(value, (list, tuple)):
        for item, part in enumerate(value):
            if isinstance(part, torch.Tensor):
                yield item, part
