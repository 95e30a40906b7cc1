"""All chunked operators together: what is large for the budget runs in chunks, with the same bits."""

from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.runtime.dispatch.chunked_gathers import ChunkedGathers
from tmtrain.runtime.dispatch.chunked_optimizers import SHARE, ChunkedOptimizers
from tmtrain.runtime.dispatch.chunked_rows import ChunkedRows
from tmtrain.runtime.dispatch.composites import run_parts
from tmtrain.runtime.dispatch.operands import has_sparse


class Chunks(TorchDispatchMode):
    """Runs operators in chunks: asked by another mode, or as one of its own above whoever records operators."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self.budget_bytes = budget_bytes
        self._kinds = (
            ChunkedRows(budget_bytes),
            ChunkedOptimizers(int(budget_bytes * SHARE)),
            ChunkedGathers(budget_bytes),
        )

    def knows(self, func: Any) -> bool:
        """Whether it may run in chunks, with some arguments or others."""
        return any(kind.knows(func) for kind in self._kinds)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run the operator in chunks, under the modes that there are; NotImplemented where it is to run whole."""
        kind = next((kind for kind in self._kinds if kind.knows(func)), None)
        if kind is None or has_sparse(args):  # which has no rows to cut
            return NotImplemented
        return kind.run(func, args, kwargs)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, in chunks if it is large."""
        kwargs = kwargs or {}
        if (out := run_parts(self, func, args, kwargs)) is not NotImplemented:
            return out  # the first mode to see it: those below see the same parts
        out = self.run(func, args, kwargs)
        return func(*args, **kwargs) if out is NotImplemented else out
