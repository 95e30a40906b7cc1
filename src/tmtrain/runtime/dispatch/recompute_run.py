"""One run of recomputations: some discarded contents come back together, each producer call runs once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.runtime.dispatch.contents import Content, ContentTable, ProducerCall
from tmtrain.runtime.tier.pages import Span
from tmtrain.runtime.tier.tier import Tier


class RecomputeRun:
    """The calls that bring `wanted` back, in order, and what lies between them."""

    def __init__(self, wanted: Sequence[Content], *, contents: ContentTable, tier: Tier) -> None:
        self._contents, self._tier = contents, tier
        self.calls: Sequence[ProducerCall] = tuple(_in_order(wanted, contents))
        self._readers = Counter(content for call in self.calls for content in call.reads)
        """How many calls are still going to read a content."""
        self._interim: dict[Content, torch.UntypedStorage] = {}
        """What one call has produced for a later one, and nobody else holds."""

    def run(self, call: ProducerCall, *, mode: Any) -> None:
        """Run one of `calls`, after those before it; put what it produces where it is missing.

        Args:
            call: To be run.
            mode: Keeps law 1 for the operators that run.
        """
        memory = {content: self._memory_of(content, call, mode=mode) for content in call.reads}
        out = call.run(memory, mode=mode)
        for content, storage in call.products(out, memory):
            if self._contents.discarded.get(content.key) is content:
                self._fill(content, storage)
            elif self._readers[content] and not self._contents.is_present(content):
                self._interim[content] = storage

    def _memory_of(self, content: Content, call: ProducerCall, *, mode: Any) -> torch.UntypedStorage:
        """Return memory that holds `content`, for one of the calls that read it."""
        is_present = self._contents.is_present(content)
        storage = content.reference() if is_present else self._interim[content]
        assert storage is not None, "a source has died before its heir was recomputed"
        self._readers[content] -= 1
        is_free = not self._readers[content] and content in self._interim
        if is_free:
            del self._interim[content]
        # What a call writes to is the program's, or later calls', unless this one is the last reader.
        return _copied(storage, mode) if content in call.writes and not is_free else storage

    def _fill(self, content: Content, source: torch.UntypedStorage) -> None:
        """Copy a content that has been recomputed to where the program looks for it."""
        target = content.reference()
        assert target is not None, "the program has let go of it, so it is not discarded any more"
        # What is copied must stay while room is made for the place that it goes to.
        self._tier.begin(self._tier.now, [storage_key(source)], what="recomputing")
        self._tier.refill(content.key, Span(source.data_ptr(), source.nbytes()))
        self._contents.restore(content)


def _in_order(wanted: Sequence[Content], contents: ContentTable) -> Iterator[ProducerCall]:
    """Yield the calls that produce `wanted`, each after those whose products it reads."""
    begun: set[ProducerCall] = set()
    # A call is met twice: first it sends for the calls before it, then it is its turn.
    pending: list[tuple[ProducerCall, bool]] = [
        (content.producer, False) for content in wanted if content.producer is not None
    ]
    while pending:
        call, is_ready = pending.pop()
        if is_ready:
            yield call
        elif call not in begun:
            begun.add(call)
            pending.append((call, True))
            absent = [content for content in call.reads if not contents.is_present(content)]
            pending += [(content.producer, False) for content in absent if content.producer is not None]


def _bytes(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8).set_(storage)  # pyright: ignore


def _copied(storage: torch.UntypedStorage, mode: Any) -> torch.UntypedStorage:
    whole = _bytes(storage)
    with mode:
        return whole.clone().untyped_storage()
