"""Makes content again instead of reading it back: the third fate of a plan.

A *content* is what a storage holds from one write to the next. Operators that the plan may run again are noted as they run:
arguments, state of the generator, and which contents they read and make. Content whose maker is known may be dropped: its
pages are given back, and nothing is written. It is recomputed when the plan says so, or as soon as an operator touches it,
whichever comes first: its maker runs on the same contents, which may have to be recomputed before, and the result is copied
to where it was.

What is dropped can always be recomputed, whatever step this turns out to be. So

* content that others are to be made from keeps its storage alive, even if the program lets go of it;
* before an operator writes to it, those others are made.

A plan for another step then costs time, never a number.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key, without_modes
from tmtrain.runtime.dispatch.operands import results_in
from tmtrain.runtime.tier.pages import SMALLEST_BYTES
from tmtrain.runtime.tier.tier import Tier


@dataclass(eq=False, slots=True)
class Content:
    """What a storage holds from one write to the next."""

    key: int
    """Of its storage."""
    reference: "weakref.ref[torch.UntypedStorage]"
    maker: "RecordedCall | None" = None
    """None: nobody noted who made it."""
    place: int = 0
    """Among the results of its maker; from -1 on downwards, among what it writes to."""
    held: torch.UntypedStorage | None = None
    """Its storage, where that has to stay; a small one always: it costs nothing, and nobody tells when it dies."""
    needs: "set[Content]" = field(default_factory=set["Content"])
    """While it is dropped: what is there and it is to be made from, through whatever else."""
    needed_by: "set[Content]" = field(default_factory=set["Content"])
    """Dropped ones that are to be made from it."""


@dataclass(frozen=True, slots=True)
class View:
    """A tensor argument without its memory."""

    content: Content
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def on(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """Return the same view of this memory."""
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.shape, self.stride)  # pyright: ignore


@dataclass(eq=False, slots=True)
class RecordedCall:
    """One run of an operator."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    """With `View` in place of tensors."""
    kwargs: dict[str, Any]
    reads: list[Content]
    """Each once; what it writes to is among them, as it was before."""
    writes: list[Content]
    """Of those."""
    generator: torch.Tensor | None
    """State of torch's generator before it ran, if it draws."""
    makes: list[Content] = field(default_factory=list[Content])


class Recomputer:
    """Notes calls, drops content, and makes it again."""

    def __init__(self, tier: Tier, *, quietly: Callable[[], AbstractContextManager[Any]]) -> None:
        """Begin.

        Args:
            tier: Its pages are dropped.
            quietly: Enters a context for operators that belong to nobody's step, and returns the mode that keeps law 1.
        """
        self.noted: frozenset[int] = frozenset()
        """Operators of the step to note."""
        self.recomputations = 0
        """Operators run again so far."""
        self._tier = tier
        self._quietly = quietly
        self._current: dict[int, Content] = {}
        """By key of the storage."""
        self._dropped: dict[int, Content] = {}
        self._calls: list[RecordedCall] = []

    def note(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        writes: Iterable[int],
        draws: bool,
    ) -> RecordedCall | None:
        """Note what is about to run; None where it could not be run again."""
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            return None
        reads: dict[int, Content] = {}

        def seen(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                content = self._content_of(value.untyped_storage())
                reads[content.key] = content
                return View(
                    content,
                    value.dtype,
                    tuple(value.shape),
                    tuple(value.stride()),
                    int(value.storage_offset()),
                )
            return [seen(item) for item in value] if isinstance(value, (list, tuple)) else value

        noted = tuple(map(seen, args)), {name: seen(value) for name, value in kwargs.items()}
        return RecordedCall(
            func=func,
            args=noted[0],
            kwargs=noted[1],
            reads=list(reads.values()),
            writes=[reads[key] for key in writes],
            generator=torch.get_rng_state() if draws else None,
        )

    def ran(self, call: RecordedCall | None, out: Any, *, writes: Iterable[int]) -> None:
        """The operator is over: what it wrote is another content, made by `call` if that was noted."""
        for key in writes:
            self._current.pop(key, None)
        if call is None:
            return
        for place, before in enumerate(call.writes):
            storage = before.reference()
            if storage is not None:
                self._made(call, storage, place=-1 - place)
        old = {content.key for content in call.reads}
        for place, storage in enumerate(results_in(out)):
            if storage_key(storage) not in old:
                self._made(call, storage, place=place)
        self._calls.append(call)

    def before(self, touches: Iterable[int], *, writes: Iterable[int]) -> None:
        """An operator comes: make what it touches, and what is made from that which it writes to."""
        if self._dropped:
            wanted = [self._dropped[key] for key in touches if key in self._dropped]
            for key in writes:
                if key in self._current:
                    wanted += self._current[key].needed_by
            self._make(wanted)

    def make(self, keys: Iterable[int]) -> None:
        """Make again what is dropped of these, sharing what they are made from."""
        self._make([self._dropped[key] for key in keys if key in self._dropped])

    def discard(self, key: int) -> bool:
        """Drop what that storage holds, if it can be recomputed; return whether that was so."""
        content = self._current.get(key)
        if content is None or content.maker is None or key in self._dropped or key not in self._tier:
            return False
        needs = self._present(content)
        if needs is None or not self._tier.discard(key):
            return False
        self._dropped[key] = content
        for heir in (content, *content.needed_by):  # those that were to be made from it
            heir.needs |= needs
            for source in needs:
                source.needed_by.add(heir)
        for heir in content.needed_by:
            heir.needs.discard(content)
        content.needed_by.clear()
        content.held = None
        for source in needs:
            source.held = source.reference()
        return True

    def died(self, key: int) -> None:
        """The program has let go of a storage."""
        content = self._current.pop(key, None)
        if content is not None and self._dropped.pop(key, None):
            self._release(content)

    def end_step(self) -> None:
        """Make what is still dropped, and forget the step."""
        self._make(list(self._dropped.values()))
        for call in self._calls:  # they and their contents hold each other
            call.reads.clear()
            call.writes.clear()
            call.makes.clear()
        self._calls.clear()
        self._current.clear()
        self.noted = frozenset()

    def _content_of(self, storage: torch.UntypedStorage) -> Content:
        key = storage_key(storage)
        if key not in self._current:
            self._current[key] = _content(storage)
        return self._current[key]

    def _made(self, call: RecordedCall, storage: torch.UntypedStorage, *, place: int) -> None:
        content = _content(storage)
        content.maker, content.place = call, place
        call.makes.append(content)
        self._current[content.key] = content

    def _is_there(self, content: Content) -> bool:
        return self._current.get(content.key) is content and content.key not in self._dropped

    def _present(self, content: Content) -> set[Content] | None:
        """Return what is there and `content` can be made from, through whatever else; None if it cannot be made."""
        found: set[Content] = set()
        seen: set[RecordedCall] = set()
        pending = [content.maker]
        while pending:
            call = pending.pop()
            if call is None:
                return None
            if call in seen:
                continue
            seen.add(call)
            for source in call.reads:
                storage = source.reference() if self._is_there(source) else None
                if storage is None:
                    pending.append(source.maker)
                elif not storage.resizable():  # shared: others may write to it where nobody sees it
                    return None
                else:
                    found.add(source)
        return found

    def _make(self, wanted: list[Content]) -> None:
        if not wanted:
            return
        calls = list(self._order(wanted))
        uses = Counter(content for call in calls for content in call.reads)
        made: dict[Content, torch.UntypedStorage] = {}
        with torch.no_grad(), without_modes(), self._quietly() as mode:
            for call in calls:
                self._run_again(call, made, uses=uses, mode=mode)

    def _order(self, wanted: Iterable[Content]) -> Iterator[RecordedCall]:
        """Yield the calls that make `wanted`, each after those that it needs."""
        begun: set[RecordedCall] = set()
        pending: list[tuple[RecordedCall, bool]] = [(c.maker, False) for c in wanted if c.maker is not None]
        while pending:
            call, is_ready = pending.pop()
            if is_ready:
                yield call
            elif call not in begun:
                begun.add(call)
                pending.append((call, True))
                absent = [content for content in call.reads if not self._is_there(content)]
                pending += [(content.maker, False) for content in absent if content.maker is not None]

    def _run_again(
        self,
        call: RecordedCall,
        made: dict[Content, torch.UntypedStorage],
        *,
        uses: Counter[Content],
        mode: Any,
    ) -> None:
        """Run `call` on memory that is there or in `made`; put what it makes where it is missing, or into `made`."""
        memory: dict[Content, torch.UntypedStorage] = {}
        for content in call.reads:
            storage = content.reference() if self._is_there(content) else made[content]
            assert storage is not None
            uses[content] -= 1
            is_free = not uses[content] and content in made
            if is_free:
                del made[content]
            # What it writes to is somebody's, unless it was made for this call.
            copies = content in call.writes and not is_free
            memory[content] = _copied(storage, mode) if copies else storage
        args, kwargs = _given(call.args, memory), {name: _given(v, memory) for name, v in call.kwargs.items()}
        before = torch.get_rng_state() if call.generator is not None else None
        if call.generator is not None:
            torch.set_rng_state(call.generator)
        with mode:
            out = call.func(*args, **kwargs)
        if before is not None:
            torch.set_rng_state(before)
        self.recomputations += 1
        results = results_in(out)
        for content in call.makes:
            storage = (
                results[content.place] if content.place >= 0 else memory[call.writes[-1 - content.place]]
            )
            if content.key in self._dropped and self._dropped[content.key] is content:
                self._fill(content, storage, mode)
            elif uses[content] and not self._is_there(content):
                made[content] = storage

    def _fill(self, content: Content, source: torch.UntypedStorage, mode: Any) -> None:
        target = content.reference()
        assert target is not None
        self._tier.begin(self._tier.now, [storage_key(source)], what="making again")
        self._tier.reopen(content.key)
        bytes_there, bytes_made = _bytes(target), _bytes(source)
        with mode:
            bytes_there.copy_(bytes_made)
        del self._dropped[content.key]
        self._release(content)

    def _release(self, content: Content) -> None:
        """Nobody has to wait for it to be made any more."""
        for source in content.needs:
            source.needed_by.discard(content)
            if not source.needed_by and source.held is not None and source.held.nbytes() >= SMALLEST_BYTES:
                source.held = None
        content.needs.clear()


def _content(storage: torch.UntypedStorage) -> Content:
    return Content(
        key=storage_key(storage),
        reference=weakref.ref(storage),
        held=storage if storage.nbytes() < SMALLEST_BYTES else None,
    )


def _given(value: Any, memory: dict[Content, torch.UntypedStorage]) -> Any:
    """Return an argument with tensors again."""
    if isinstance(value, View):
        return value.on(memory[value.content])
    if isinstance(value, (list, tuple)):
        return type(value)(_given(item, memory) for item in value)
    return value


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage)  # pyright: ignore


def _copied(storage: torch.UntypedStorage, mode: Any) -> torch.UntypedStorage:
    whole = _bytes(storage)
    with mode:
        return whole.clone().untyped_storage()
