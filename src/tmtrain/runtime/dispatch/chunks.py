"""All chunked operators together: what is large for the budget runs in chunks, with the same bits."""

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.runtime.dispatch.chunked_gathers import ChunkedGathers
from tmtrain.runtime.dispatch.chunked_optimizers import SHARE, ChunkedOptimizers
from tmtrain.runtime.dispatch.chunked_rows import ChunkedRows
from tmtrain.runtime.dispatch.facts import UncompiledMode, run_parts
from tmtrain.runtime.dispatch.operands import has_sparse
from tmtrain.runtime.tier.tier import Tier

_KINDS = (ChunkedRows, ChunkedOptimizers, ChunkedGathers)


class Chunks(UncompiledMode):
    """Runs operators in chunks: asked by another mode, or as one of its own above whoever records operators."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self.budget_bytes = budget_bytes
        self._kinds = (
            ChunkedRows(budget_bytes),
            ChunkedOptimizers(int(budget_bytes * SHARE)),
            ChunkedGathers(budget_bytes),
        )

    def may_cut(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether it may run in chunks with these arguments."""
        kind = _kind_of(func)
        return kind is not None and self._kinds[kind].is_large(args)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator in chunks, under the modes that there are; NotImplemented where it is to run whole."""
        kind = _kind_of(func)
        if kind is None or has_sparse(args):  # which has no rows to cut
            return NotImplemented
        return self._kinds[kind].run(func, args, kwargs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, in chunks if it is large."""
        kwargs = kwargs or {}
        if (out := run_parts(self, func, args, kwargs)) is not NotImplemented:
            return out  # the first mode to see it: those below see the same parts
        out = self.run(func, args, kwargs)
        return func(*args, **kwargs) if out is NotImplemented else out


class ChunkSwitch:
    """Runs chunked operators for the residency mode, unless a mode above it does, or this is a chunk already."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._chunks = Chunks(tier.budget_bytes)
        self._is_on = True

    @contextmanager
    def above(self) -> Generator[None]:
        """Let a mode above whatever else is entered run chunked operators: a recorder is to see their chunks."""
        before, self._is_on = self._is_on, False
        try:
            with Chunks(self._tier.budget_bytes):
                yield
        finally:
            self._is_on = before

    def rest(self) -> None:
        """No chunk runs, whatever an exception has kept from being said."""
        self._is_on = True

    def may_cut(self, func: Any, args: tuple[Any, ...]) -> bool:
        """Whether it may run in chunks with these arguments."""
        if self._chunks.budget_bytes != self._tier.budget_bytes:
            self._chunks = Chunks(self._tier.budget_bytes)
        return self._is_on and self._chunks.may_cut(func, args)

    def run(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, mode: TorchDispatchMode
    ) -> Any:
        """Run the operator in chunks under `mode`; NotImplemented where it is to run whole."""
        self._is_on = False
        try:
            with mode:
                return self._chunks.run(func, args, kwargs)
        finally:
            self._is_on = True


@functools.cache
def _kind_of(func: Any) -> int | None:
    """Return which of the kinds an operator is of."""
    return next((number for number, kind in enumerate(_KINDS) if kind.knows(func)), None)
