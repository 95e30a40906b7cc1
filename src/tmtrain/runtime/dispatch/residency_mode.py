"""The dispatch mode that keeps law 1: before an operator runs, all it touches is in fast memory.

It stands where capture's recorder stands, below autograd, and sees the real operators of the step. What an operator
allocates is counted before it runs: its shapes are worked out on the meta device, once per operator and shapes.

An observer may watch (`StepObserver`), to record the step or to act ahead of it. Whatever it does, law 1 holds.
"""

import os
import weakref
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch._ops import OpOverload

from tmtrain.capturing.internals import storage_key
from tmtrain.capturing.signature import Signature
from tmtrain.runtime.dispatch.allocations import NOTHING, Allocation, ResultRoom
from tmtrain.runtime.dispatch.chunks import ChunkSwitch
from tmtrain.runtime.dispatch.facts import OperatorFacts, UncompiledMode, facts_of, run_parts
from tmtrain.runtime.dispatch.loans import Loans
from tmtrain.runtime.dispatch.observer import StepClock, StepObserver
from tmtrain.runtime.dispatch.operands import is_movable, memory_of, ranges_in, storages_in, written_arguments
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.dispatch.scopes import BRING_IN, MAKE_ROOM, is_profiled, marked
from tmtrain.runtime.tier.pages import interior
from tmtrain.runtime.tier.tier import NOWHERE, Ranges, Tier

_Storages = dict[int, torch.UntypedStorage]
"""By key."""

_MOST_ATTEMPTS = 3
"""To do what is interrupted."""

_OUTLIVED: set["ResidencyMode"] = set()
"""Modes that are over while storages of theirs live. Only they know which pages to open before such memory is freed."""


class ResidencyMode(UncompiledMode):
    """Runs operators in the budget of a tier."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        self.operators = 0
        """Begun so far."""
        self.observer = StepObserver()
        self._process = os.getpid()
        self._step_began = 0
        self._clock = StepClock(lambda: tier.counts.stall_s)
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
        self.chunks = ChunkSwitch(tier)
        self.results = ResultRoom(tier)

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
        self._is_quiet = False  # no operator runs, even where an exception has skipped the line that says so
        self.chunks.rest()
        self.loans.rest()
        self._step_began, self.observer = self.operators, observer
        self._clock.lap_s()

    @contextmanager
    def _quietly(self) -> Generator[Self]:
        """Run operators that belong to no step; their time is nobody's either."""
        operators, self._is_quiet = self.operators, True
        try:
            with self._clock.stopped():
                yield self
        finally:
            self.operators, self._is_quiet = operators, False

    def _settle(self) -> None:
        """Do what exceptions have left undone since the last operator."""
        self.loans.take_back()
        if self._interrupted is not None:
            error, self._interrupted = self._interrupted, None
            raise error

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Bring in the operands, make room for the results, run."""
        kwargs = kwargs or {}
        if os.getpid() != self._process:
            return func(*args, **kwargs)  # a forked child has no movers: it goes on with what was in memory
        facts = facts_of(func)
        if facts is None:
            parts = run_parts(self, func, args, kwargs)
            return func(*args, **kwargs) if parts is NotImplemented else parts
        if facts.is_view:
            self.operators += 1
            return func(*args, **kwargs)  # touches no byte
        if self.chunks.may_cut(func, args):
            chunks = self.chunks.run(func, args, kwargs, mode=self)
            if chunks is not NotImplemented:
                return chunks
        if facts.communicates:
            return self._communicate(func, facts.signature, args, kwargs)
        return self._run(func, facts, args, kwargs)

    def _run(
        self, func: OpOverload, facts: OperatorFacts, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        op = self.operators - self._step_began
        into, written = (), {}
        if facts.signature.writes_argument:
            into = tuple(written_arguments(facts.signature, args, kwargs))
            written = storages_in(into)
        expected = self._prepare(op, func, facts, args, kwargs, written=written)
        # Before it runs: it may write to what it reads, and draw from the generator.
        is_kept, draws = op in self.recomputer.producers and not self._is_quiet, facts.signature.random
        call = self.recomputer.record(func, args, kwargs, writes=written, draws=draws) if is_kept else None
        run = partial(func, *args, **kwargs)
        out = self.loans.run(run, written) if facts.may_resize else run()
        self.operators += 1
        made_bytes = self._admit_results(op, out) if facts.makes_tensors else 0
        self._tier.end(written, ranges=ranges_in(into) if written else NOWHERE)
        if not expected.is_sure or made_bytes != expected.told_bytes:
            self.results.taken(expected, made_bytes, func=func, operands=storages_in(args).values())
        if not self._is_quiet:
            # The recomputer first: the observer may discard at once what has just been produced.
            self.recomputer.ran(call, out, writes=written)
            self.observer.ran(op, seconds=self._clock.lap_s())
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
        facts: OperatorFacts,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        written: _Storages,
    ) -> Allocation:
        """Have all that it touches in memory, and room for what it makes."""
        self._settle()
        arguments, name = (*args, *kwargs.values()) if kwargs else args, facts.signature.name
        operands = storages_in(arguments)
        new = self._new_among(operands)
        keys = [key for key in operands if key in new or (key in self._watch and key not in self._staying)]
        makes = self.results.book.expected(func, args, kwargs) if facts.makes_tensors else NOTHING
        if not self._is_quiet:
            # The plan's recomputations share producer calls; what it has not asked for comes one operator at a time.
            self.observer.comes(op, name=name, keys=keys, makes_bytes=makes.told_bytes)
            self.recomputer.before(keys, writes=written)
        is_easy = makes.is_sure and not new
        if not is_easy or not self._tier.begin_at_once(
            self.operators, operands, what=name, makes_bytes=makes.told_bytes or 0
        ):
            ranges = NOWHERE if facts.goes_beyond else ranges_in(arguments)
            self._bring_in(operands, new, makes, ranges=ranges, what=name)
        if not self._is_quiet:
            # Only now: what is fetched ahead may take no room that this operator needs.
            self.observer.ready(op)
        return makes

    def _bring_in(
        self, keys: Iterable[int], new: _Storages, makes: Allocation, *, ranges: Ranges, what: str
    ) -> None:
        bring_in, make_room = self._tier.begin, self._tier.reserve
        if is_profiled():  # asked once for both
            bring_in, make_room = marked(bring_in, BRING_IN), marked(make_room, MAKE_ROOM)
        bring_in(self.operators, keys, ranges=ranges, what=what)
        for key, storage in new.items():
            self._take_over(key, storage, ranges=ranges)
        make_room(self.results.wanted(makes))

    def _new_among(self, storages: _Storages) -> _Storages:
        """Return what came to be outside of operators: a batch, a tensor from a file."""
        watch = self._watch
        return {key: storage for key, storage in storages.items() if key not in watch and is_movable(storage)}

    def _adopt_all(self, storages: _Storages) -> None:
        for key, storage in storages.items():
            self._tier.make_room(interior(memory_of(storage)).length)
            self._admit(key, storage)

    def _admit_results(self, op: int, out: Any) -> int:
        """Take in what an operator has made; return its bytes."""
        made_bytes = 0
        for index, (key, storage) in enumerate(storages_in((out,)).items()):
            if key in self._watch or not is_movable(storage):
                continue
            self._admit(key, storage)
            made_bytes += storage.nbytes()
            if not self._is_quiet:
                self.observer.allocated(op, index=index, key=key)
        return made_bytes

    def _lost(self, key: int) -> None:
        """The tier does not manage it any more; it lives."""
        self._watch.pop(key, None)
        self._staying.discard(key)

    def _admit(self, key: int, storage: torch.UntypedStorage) -> None:
        # Watched first: whatever comes between, nothing is managed whose death nobody would tell.
        self._watch_over(key, storage)
        self._tier.admit(key, memory_of(storage))

    def _take_over(self, key: int, storage: torch.UntypedStorage, *, ranges: Ranges) -> None:
        self._watch_over(key, storage)
        try:
            self._tier.take_over(key, memory_of(storage), ranges=ranges)
        except BaseException:
            del self._watch[key]
            raise

    def _watch_over(self, key: int, storage: torch.UntypedStorage) -> None:
        # Twice: an exception at the very beginning of a callback is lost, and the callback with it.
        died = partial(self._died, key)
        self._watch[key] = weakref.ref(storage, died), weakref.ref(storage, died)

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
