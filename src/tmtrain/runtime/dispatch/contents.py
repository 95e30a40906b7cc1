"""Contents of storages, and the calls that produced them.

A *content* is what a storage holds from one write to the next. A *producer call* is one run of an operator, recorded with
its arguments so that it can run again. The *sources* of a discarded content are the present contents that it is recomputed
from, directly or through other calls. Seen from a source, the discarded content is an *heir*.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.runtime.dispatch.operands import results_in
from tmtrain.runtime.tier.pages import SMALLEST_BYTES


@dataclass(eq=False, slots=True)
class Content:
    """What a storage holds from one write to the next."""

    key: int
    """Of its storage."""
    reference: "weakref.ref[torch.UntypedStorage]"
    producer: "ProducerCall | None" = None
    """None where the call was not recorded."""
    kept: torch.UntypedStorage | None = None
    """Its storage, where that must outlive its name in the program."""
    sources: "set[Content]" = field(default_factory=set["Content"])
    """While it is discarded."""
    heirs: "set[Content]" = field(default_factory=set["Content"])
    """While they are discarded."""


def content_of(storage: torch.UntypedStorage, *, producer: "ProducerCall | None" = None) -> Content:
    """Return a new content of this storage."""
    return Content(
        key=storage_key(storage),
        reference=weakref.ref(storage),
        producer=producer,
        # A small storage costs nothing to keep, and the tier does not tell when it dies.
        kept=storage if storage.nbytes() < SMALLEST_BYTES else None,
    )


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor argument without its memory."""

    content: Content
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    def on(self, storage: torch.UntypedStorage) -> torch.Tensor:
        """Return the same view of this memory."""
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.shape, self.stride)  # pyright: ignore


def view_of(tensor: torch.Tensor, content: Content) -> TensorView:
    """Return how `tensor` looks at its storage."""
    shape, stride = tuple(tensor.shape), tuple(tensor.stride())
    return TensorView(content, tensor.dtype, shape, stride, int(tensor.storage_offset()))


@dataclass(eq=False, slots=True)
class ProducerCall:
    """One run of an operator, which can run again."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    """With `TensorView` in place of tensors."""
    kwargs: dict[str, Any]
    reads: list[Content]
    """Each once. What it writes to is among them, as it was before."""
    writes: list[Content]
    """Of those."""
    generator: torch.Tensor | None
    """State of torch's generator before it ran, if it draws."""
    rewritten: dict[Content, Content] = field(default_factory=dict[Content, Content])
    """What it left in a storage that it wrote to, by what was there before."""
    returned: dict[int, Content] = field(default_factory=dict[int, Content])
    """New contents by their position among the results."""

    def finish(self, out: Any) -> Iterator[Content]:
        """Yield what the first run has produced."""
        for before in self.writes:
            storage = before.reference()
            if storage is not None:
                self.rewritten[before] = content_of(storage, producer=self)
                yield self.rewritten[before]
        operands = {content.key for content in self.reads}
        for position, storage in enumerate(results_in(out)):
            if storage_key(storage) not in operands:
                self.returned[position] = content_of(storage, producer=self)
                yield self.returned[position]

    def run(self, memory: dict[Content, torch.UntypedStorage], *, mode: Any) -> Any:
        """Run again on this memory, with the noise of the first run; return what the operator returns."""
        args = tuple(_argument(value, memory) for value in self.args)
        kwargs = {name: _argument(value, memory) for name, value in self.kwargs.items()}
        state = torch.get_rng_state() if self.generator is not None else None
        if self.generator is not None:
            torch.set_rng_state(self.generator)
        with mode:
            out = self.func(*args, **kwargs)
        if state is not None:
            torch.set_rng_state(state)
        return out

    def products(
        self, out: Any, memory: dict[Content, torch.UntypedStorage]
    ) -> Iterator[tuple[Content, torch.UntypedStorage]]:
        """Yield its contents, and where the run that returned `out` has put each."""
        for before, content in self.rewritten.items():
            yield content, memory[before]
        results = results_in(out)
        for position, content in self.returned.items():
            yield content, results[position]

    def forget(self) -> None:
        """Let go of its contents, which know it as their producer: such cycles would wait for Python's collector."""
        self.reads.clear()
        self.writes.clear()
        self.rewritten.clear()
        self.returned.clear()


def _argument(value: Any, memory: dict[Content, torch.UntypedStorage]) -> Any:
    """Return an argument with tensors on `memory`."""
    if isinstance(value, TensorView):
        return value.on(memory[value.content])
    if isinstance(value, (list, tuple)):
        return type(value)(_argument(item, memory) for item in value)
    return value


class ContentTable:
    """Which content each storage holds now, and which of these are discarded.

    Invariant: a discarded content can be recomputed from its sources. They are present, they know it as an heir, and they
    live until it is back.
    """

    def __init__(self) -> None:
        self._current: dict[int, Content] = {}
        """By key of the storage."""
        self._discarded: dict[int, Content] = {}
        """Of those."""
        self.discarded: Mapping[int, Content] = MappingProxyType(self._discarded)

    def at(self, storage: torch.UntypedStorage) -> Content:
        """Return what a storage holds now."""
        key = storage_key(storage)
        if key not in self._current:
            self._current[key] = content_of(storage)
        return self._current[key]

    def known_at(self, key: int) -> Content | None:
        """Return what that storage holds, where it was seen since it was written last."""
        return self._current.get(key)

    def is_present(self, content: Content) -> bool:
        """Whether `content` is still what its storage holds, and is not discarded."""
        return self._current.get(content.key) is content and content.key not in self._discarded

    def overwrite(self, keys: Iterable[int]) -> None:
        """Forget what these storages held: somebody has written to them."""
        for key in keys:
            self._current.pop(key, None)

    def enter(self, content: Content) -> None:
        """Take `content` for what its storage holds now."""
        self._current[content.key] = content

    def sources_of(self, content: Content) -> set[Content] | None:
        """Return the present contents that it can be recomputed from; None if it cannot."""
        sources: set[Content] = set()
        visited: set[ProducerCall] = set()
        pending = [content.producer]
        while pending:
            call = pending.pop()
            if call is None:
                return None
            if call in visited:
                continue
            visited.add(call)
            for source in call.reads:
                storage = source.reference() if self.is_present(source) else None
                if storage is None:
                    pending.append(source.producer)
                elif not storage.resizable():  # shared: others may write to it where nobody sees it
                    return None
                else:
                    sources.add(source)
        return sources

    def discard(self, content: Content, *, sources: set[Content]) -> None:
        """Enter that `content` is discarded, to be recomputed from `sources`."""
        assert self.is_present(content)
        assert all(self.is_present(source) for source in sources)
        # Its sources stay, even if the program lets go of them. Its heirs would have been recomputed from it: now they come
        # from its sources too, through it.
        for source in sources:
            source.kept = source.reference()
        for heir in (content, *content.heirs):
            heir.sources |= sources
            for source in sources:
                source.heirs.add(heir)
        self._discarded[content.key] = content  # when all that it needs is there
        for heir in content.heirs:
            heir.sources.discard(content)
        content.heirs.clear()
        content.kept = None  # nothing needs its memory any more

    def restore(self, content: Content) -> None:
        """Enter that `content` is back, or not wanted any more."""
        del self._discarded[content.key]
        for source in content.sources:
            source.heirs.discard(content)
            # A small storage stays kept, see `content_of`.
            if not source.heirs and source.kept is not None and source.kept.nbytes() >= SMALLEST_BYTES:
                source.kept = None
        content.sources.clear()

    def died(self, key: int) -> None:
        """Forget a storage that is freed, and with it what was discarded of it."""
        if key in self._discarded:
            assert self._discarded[key] is self._current.get(key)
            self.restore(self._discarded[key])
        self._current.pop(key, None)

    def clear(self) -> None:
        """Forget the step."""
        assert not self._discarded, "what is discarded would be lost"
        self._current.clear()
