"""Discards content and recomputes it, instead of reading it back: the third fate of a plan.

Operators that the plan may run again are recorded as they run (`tmtrain.runtime.dispatch.contents`). What they produced may
be discarded: its pages are closed, and nothing is written. It is recomputed when the plan says so, or as soon as an
operator touches it, whichever comes first. Its producer call runs on the same contents, which may have to be recomputed
before, and the result is copied to where it was.

Note [Discarded is not lost]: whatever step this turns out to be, what is discarded can be recomputed.

* Sources of discarded content keep their storage alive, even if the program lets go of it.
* Before an operator writes to a source, its heirs are recomputed.

A plan for another step then costs time, never a number.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch

from tmtrain.capturing.internals import without_modes
from tmtrain.runtime.dispatch.contents import Content, ContentTable, ProducerCall, view_of
from tmtrain.runtime.dispatch.operands import has_sparse
from tmtrain.runtime.dispatch.recompute_run import RecomputeRun
from tmtrain.runtime.dispatch.scopes import RECOMPUTE, scope
from tmtrain.runtime.tier.tier import Tier


class Recomputer:
    """Records producer calls, discards what they produced, and recomputes it."""

    def __init__(self, tier: Tier, *, quietly: Callable[[], AbstractContextManager[Any]]) -> None:
        """Begin.

        Args:
            tier: Its pages are closed.
            quietly: Enters a context for operators that belong to nobody's step, and returns the mode that keeps law 1.
        """
        self.producers: frozenset[int] = frozenset()
        """Operators of the step whose calls are to be recorded; said by `expect`."""
        self.recomputations = 0
        """Operators run again so far."""
        self._tier = tier
        self._quietly = quietly
        self._contents = ContentTable()
        self._calls: list[ProducerCall] = []
        """Of this step."""

    def expect(self, producers: frozenset[int]) -> None:
        """Let these operators of the step be recorded from now on, and no others."""
        self.producers = producers

    def record(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        writes: Iterable[int],
        draws: bool,
    ) -> ProducerCall | None:
        """Record the call that is about to run; None where it could not run again."""
        if any(isinstance(value, torch.Generator) for value in (*args, *kwargs.values())):
            return None  # whose state is not torch's own
        if has_sparse(args):
            return None  # a sparse one is no view of one storage
        reads: dict[int, Content] = {}

        def recorded(value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                content = self._contents.at(value.untyped_storage())
                reads[content.key] = content
                return view_of(value, content)
            return [recorded(item) for item in value] if isinstance(value, (list, tuple)) else value

        return ProducerCall(
            func=func,
            args=tuple(map(recorded, args)),
            kwargs={name: recorded(value) for name, value in kwargs.items()},
            reads=list(reads.values()),
            writes=[reads[key] for key in writes],
            generator=torch.get_rng_state() if draws else None,
        )

    def ran(self, call: ProducerCall | None, out: Any, *, writes: Iterable[int]) -> None:
        """The operator is over: what it wrote to holds another content, produced by `call` if that was recorded."""
        self._contents.overwrite(writes)
        if call is not None:
            for content in call.finish(out):
                self._contents.enter(content)
            self._calls.append(call)

    def before(self, touches: Iterable[int], *, writes: Iterable[int]) -> None:
        """An operator comes: recompute what it touches, and the heirs of what it writes to."""
        discarded = self._contents.discarded
        if discarded:
            wanted = [discarded[key] for key in touches if key in discarded]
            for key in writes:
                source = self._contents.known_at(key)
                if source is not None:
                    wanted += source.heirs
            self._restore(wanted)

    def recompute(self, keys: Iterable[int]) -> None:
        """Recompute what is discarded of these storages, together, so that shared producer calls run once."""
        discarded = self._contents.discarded
        self._restore([discarded[key] for key in keys if key in discarded])

    def discard(self, key: int) -> bool:
        """Discard what that storage holds, if it can be recomputed; return whether that was so."""
        content = self._contents.known_at(key)
        if content is None or content.producer is None or self.is_discarded(key) or key not in self._tier:
            return False
        sources = self._contents.sources_of(content)
        # The tier says no where somebody else may touch it, or where no room would be left for its return.
        if sources is None or not self._tier.may_discard(key):
            return False
        # In this order: what an exception finds entered, and still there, is recomputed for nothing.
        self._contents.discard(content, sources=sources)
        self._tier.discard(key)
        return True

    def is_discarded(self, key: int) -> bool:
        """Whether the content of that storage is nowhere."""
        return key in self._contents.discarded

    def died(self, key: int) -> None:
        """The program has let go of a storage."""
        self._contents.died(key)

    def end_step(self) -> None:
        """Recompute what is still discarded, and forget the step."""
        self._restore(list(self._contents.discarded.values()))
        for call in self._calls:
            call.forget()
        self._calls.clear()
        self._contents.clear()
        self.expect(frozenset())

    def _restore(self, wanted: Sequence[Content]) -> None:
        if not wanted:
            return
        run = RecomputeRun(wanted, contents=self._contents, tier=self._tier)
        with torch.no_grad(), without_modes(), self._quietly() as mode, scope(RECOMPUTE):
            for call in run.calls:
                run.run(call, mode=mode)
                self.recomputations += 1
        assert not any(self.is_discarded(content.key) for content in wanted)
