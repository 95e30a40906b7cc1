"""The dispatch mode that keeps law 1: before an operator runs, all it touches is in fast memory.

It stands where capture's recorder stands, below autograd, and sees the real operators of the step. What an operator
allocates is counted before it runs: its shapes are worked out on the meta device, once per operator and shapes.

An observer may watch (`StepObserver`), to record the step or to act ahead of it. Whatever it does, law 1 holds.
"""

import functools
import os
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from tmtrain.capturing.internals import schema_of, short_name_of, storage_key
from tmtrain.capturing.signature import Signature, signature_of
from tmtrain.runtime.dispatch.contents import ProducerCall
from tmtrain.runtime.dispatch.loans import Loans, is_movable, memory_of
from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.operands import ranges_in, results_in, storages_in, written_arguments
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.dispatch.scopes import BRING_IN, MAKE_ROOM, is_profiled, marked
from tmtrain.runtime.tier.pages import SMALLEST_BYTES, interior
from tmtrain.runtime.tier.tier import NOWHERE, Tier

_RESIZERS = frozenset(("resize_", "resize_as_", "set_"))

_COMMUNICATORS = frozenset(("c10d",))
"""Namespaces of operators whose threads go on with the operands after the operator has returned."""

_MOST_ATTEMPTS = 3
"""To do what is interrupted."""

_Key = tuple[Any, ...]

_OUTLIVED: set["ResidencyMode"] = set()
"""Modes that are over while storages of theirs live. Only they know which pages to open before such memory is freed."""


class ResidencyMode(TorchDispatchMode):
    """Runs operators in the budget of a tier."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        self.operators = 0
        """Begun so far."""
        self.observer = StepObserver()
        self._process = os.getpid()
        self._step_began = 0
        self._clock = 0.0
        """When the last operator ended, as if there had been no waiting."""
        self._tier = tier
        self._watch: dict[int, tuple[weakref.ref[torch.UntypedStorage], ...]] = {}
        """The tier's managed storages, by the key of their storage, which is theirs until they die."""
        self._staying: set[int] = set()
        """Of those, what cannot move any more: the observer is not told of it."""
        self.recomputer = Recomputer(tier, quietly=self._quietly)
        self.loans = Loans(tier, lost=self._lost)
        self._interrupted: BaseException | None = None
        """Raised while a storage died, where nobody would have heard of it."""
        self._is_quiet = False
        """Operators that run now belong to no step: they recompute what was discarded."""
        self._new_bytes: dict[_Key, int] = {}
        """What operators allocate, by operator and shapes."""

    def adopt(self, tensor: torch.Tensor, *, name: str) -> None:
        """Put a tensor that is in memory already under the budget; others may leave for it."""
        self._tier.begin(self.operators, (), what=f"taking in {name}")
        self._adopt_all(self._new_among(storages_in((tensor,))))

    def hold(
        self, storage: torch.UntypedStorage, *, what: str, fills: bool = False, stays: bool = False
    ) -> None:
        """Have a storage in memory for who reads or `fills` it past torch, until the next operator; or until it dies."""
        self._settle()
        key = storage_key(storage)
        writes = [key] if fills or stays else []
        self.recomputer.before([key], writes=writes)
        self._tier.begin(self.operators, [key], what=what)
        self._tier.wrote(writes)
        self.recomputer.ran(None, None, writes=writes)
        if stays and key in self._tier:
            self._tier.keep(key)
            self._staying.add(key)

    def outlived(self) -> None:
        """Stay until the last storage has died: memory that is freed with closed pages kills whoever gets it next."""
        if self._watch:
            _OUTLIVED.add(self)

    def begin_step(self, observer: StepObserver) -> None:
        """Count operators from 0 again, and let `observer` see them."""
        self._step_began, self.observer = self.operators, observer
        self._seconds_since()

    @contextmanager
    def _quietly(self) -> Generator[Self]:
        """Run operators that belong to no step; their time is nobody's either."""
        operators, clock, began = self.operators, self._clock, self._now_s()
        self._is_quiet = True
        try:
            yield self
        finally:
            self._is_quiet = False
            self.operators, self._clock = operators, clock + self._now_s() - began

    def _settle(self) -> None:
        """Do what exceptions have left undone since the last operator."""
        self.loans.take_back()
        if self._interrupted is not None:
            error, self._interrupted = self._interrupted, None
            raise error

    def _now_s(self) -> float:
        """Return the time, as if there had been no waiting."""
        return time.perf_counter() - self._tier.counts.stall_s

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Bring in the operands, make room for the results, run."""
        kwargs = kwargs or {}
        if os.getpid() != self._process:
            return func(*args, **kwargs)  # a forked child has no movers: it goes on with what was in memory
        if not isinstance(func, OpOverload) or not (signature := signature_of(func)).recorded:
            return func(*args, **kwargs)
        facts = _facts_of(func)
        if facts.is_view:
            self.operators += 1
            return func(*args, **kwargs)  # touches no byte
        if func.namespace in _COMMUNICATORS:
            return self._communicate(func, signature, args, kwargs)
        op = self.operators - self._step_began
        into = list(written_arguments(signature, args, kwargs))
        written = storages_in(into)
        self._prepare(op, func, signature, args, kwargs, written=written, facts=facts)
        call: ProducerCall | None = None
        # Before it runs: it may write to what it reads, and draw from the generator.
        if op in self.recomputer.producers and not self._is_quiet:
            call = self.recomputer.record(func, args, kwargs, writes=written, draws=signature.random)
        run = partial(func, *args, **kwargs)
        out = self.loans.run(run, written) if facts.may_resize else run()
        self.operators += 1
        if facts.makes_tensors:
            self._admit_results(op, out)
        self._tier.end(written, ranges=ranges_in(into))
        if not self._is_quiet:
            # The recomputer first: the observer may discard at once what has just been produced.
            self.recomputer.ran(call, out, writes=written)
            self.observer.ran(op, seconds=self._seconds_since())
        return out

    def _communicate(
        self, func: OpOverload, signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Let what goes to other processes stay in memory until it dies."""
        operands = storages_in((*args, *kwargs.values()))
        new = self._new_among(operands)
        self.recomputer.before(operands, writes=operands)
        self._tier.begin(self.operators, operands, what=signature.name)
        self._adopt_all(new)
        for key in operands:
            if key in self._watch:
                self._tier.keep(key)
                self._staying.add(key)
        out = func(*args, **kwargs)
        self.operators += 1
        self.recomputer.ran(None, out, writes=operands)
        return out

    def _prepare(
        self,
        op: int,
        func: OpOverload,
        signature: Signature,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        written: dict[int, torch.UntypedStorage],
        facts: "_Facts",
    ) -> None:
        self._settle()
        arguments = (*args, *kwargs.values())
        operands = storages_in(arguments)
        new = self._new_among(operands)
        keys = [key for key in operands if key in new or (key in self._watch and key not in self._staying)]
        makes = self._expected(func, args, kwargs) if facts.makes_tensors else 0
        ranges = NOWHERE if facts.goes_beyond else ranges_in(arguments)
        if not self._is_quiet:
            # The plan's recomputations share producer calls; what it has not asked for comes one operator at a time.
            self.observer.comes(op, name=signature.name, keys=keys, makes_bytes=makes)
            self.recomputer.before(keys, writes=written)
        bring_in, make_room = self._tier.begin, self._tier.reserve
        if is_profiled():  # asked once for both: this runs for every operator
            bring_in, make_room = marked(bring_in, BRING_IN), marked(make_room, MAKE_ROOM)
        bring_in(self.operators, operands, ranges=ranges, what=signature.name)
        self._adopt_all(new)
        make_room(makes)
        if not self._is_quiet:
            # Only now: what is fetched ahead may take no room that this operator needs.
            self.observer.ready(op)

    def _new_among(self, storages: dict[int, torch.UntypedStorage]) -> dict[int, torch.UntypedStorage]:
        """Return what came to be outside of operators: a batch, a tensor from a file."""
        watch = self._watch
        return {key: storage for key, storage in storages.items() if key not in watch and is_movable(storage)}

    def _adopt_all(self, storages: dict[int, torch.UntypedStorage]) -> None:
        for storage in storages.values():
            self._tier.make_room(interior(memory_of(storage)).length)
            self._admit(storage)

    def _seconds_since(self) -> float:
        """Return the seconds since the last time, without those of waiting."""
        before, self._clock = self._clock, self._now_s()
        return self._clock - before

    def _admit_results(self, op: int, out: Any) -> None:
        results = {storage_key(storage): storage for storage in results_in(out)}
        for index, storage in enumerate(self._new_among(results).values()):
            key = self._admit(storage)
            if not self._is_quiet:
                self.observer.allocated(op, index=index, key=key)

    def _lost(self, key: int) -> None:
        """The tier does not manage it any more; it lives."""
        self._watch.pop(key, None)
        self._staying.discard(key)

    def _admit(self, storage: torch.UntypedStorage) -> int:
        key = storage_key(storage)
        # Watched first: whatever comes between, nothing is managed whose death nobody would tell.
        # And twice: an exception at the very beginning of a callback is lost, and the callback with it.
        died = partial(self._died, key)
        self._watch[key] = weakref.ref(storage, died), weakref.ref(storage, died)
        self._tier.admit(key, memory_of(storage))
        return key

    def _died(self, key: int, _reference: "weakref.ref[torch.UntypedStorage]") -> None:
        """Forget a storage that is about to be freed."""
        # Nobody hears of an exception in here, and what is not done now never will be. So the rest is done, and it is
        # raised before the next operator.
        for _ in range(_MOST_ATTEMPTS if os.getpid() == self._process else 0):
            try:
                self._forget(key)
                break
            except BaseException as error:
                self._interrupted = error

    def _forget(self, key: int) -> None:
        """Forget a storage; a second call does what an exception has left undone."""
        if key not in self._watch:
            return
        self._tier.dismiss(key)
        self._staying.discard(key)
        self.recomputer.died(key)
        self.observer.died(key)
        del self._watch[key]
        if not self._watch:
            _OUTLIVED.discard(self)

    def _expected(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Return the bytes that the operator will allocate and that count."""
        key = (func, *map(_shape, tree_leaves((args, kwargs))))
        try:
            expected = self._new_bytes.get(key)
        except TypeError:  # an argument that cannot be a key
            return _allocated_bytes(func, args, kwargs)
        if expected is None:
            expected = self._new_bytes[key] = _allocated_bytes(func, args, kwargs)
        return expected


def _allocated_bytes(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    with torch.no_grad():
        meta_args, meta_kwargs = tree_map_only(torch.Tensor, _on_meta, (args, kwargs))
        if "device" in meta_kwargs:
            meta_kwargs["device"] = torch.device("meta")
        out = func(*meta_args, **meta_kwargs)
    operands = _sizes_of((meta_args, meta_kwargs)).keys()
    results = _sizes_of(out)
    return sum(size for key, size in results.items() if key not in operands and size >= SMALLEST_BYTES)


def _sizes_of(tree: Any) -> dict[int, int]:
    """Return the bytes of the storages in a tree, each once, by its key."""
    storages = [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]
    return {storage_key(storage): storage.nbytes() for storage in storages}


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _shape(leaf: Any) -> Any:
    return (leaf.shape, leaf.stride(), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the schema of an operator says, worked out at its first call."""

    is_view: bool
    """All results share memory with arguments, and nothing is written."""
    makes_tensors: bool
    """Some result is new."""
    may_resize: bool
    """An argument's storage may be at another address afterwards."""
    goes_beyond: bool
    """It may touch of an argument's storage what lies outside of the argument."""


@functools.cache
def _facts_of(func: OpOverload) -> _Facts:
    schema = schema_of(func)
    infos = [result.alias_info for result in schema.returns]
    may_resize = short_name_of(func) in _RESIZERS or any(argument.is_out for argument in schema.arguments)
    return _Facts(
        is_view=bool(infos) and all(info is not None and not info.is_write for info in infos),
        makes_tensors=any(
            "Tensor" in str(result.type) and result.alias_info is None for result in schema.returns
        ),
        may_resize=may_resize,
        goes_beyond=may_resize or short_name_of(func).startswith("as_strided"),
    )
