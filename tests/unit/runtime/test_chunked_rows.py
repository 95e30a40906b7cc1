"""Operators on large tensors run in chunks, with the same bits."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.runtime.dispatch.chunked_rows import GRAIN, VECTOR, ChunkedRows

aten: Any = torch.ops.aten


class _Calls(TorchDispatchMode):
    """Notes the operators that run, and the most bytes that the tensors of one of them have, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.most_bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        self.names.append(name)
        if not any(word in name for word in ("view", "slice", "empty")):
            touched = sum(arg.nbytes for arg in args if isinstance(arg, torch.Tensor))
            self.most_bytes = max(self.most_bytes, touched)
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def _tensors(shape: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(0)
    one, two, three = (torch.randn(shape, generator=dice).to(dtype) for _ in range(3))
    return [one, two, three.abs() + 0.1]


ELEMENTS = (VECTOR * 2 * 2048, 12)  # enough for two threads in each of several parts
ROWS = (3, 100, 5025)
ARITHMETIC: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda a, b, _: a + b,
    "add in place": lambda a, b, _: a.add_(b, alpha=0.3),
    "times a number": lambda a, _b, _c: a.mul_(0.99),
    "by a 0-dimensional tensor": lambda a, _b, _c: a / torch.tensor(3.0, dtype=a.dtype),
    "div": lambda a, _, c: a / c,
    "lerp": lambda a, b, _: a.lerp_(b, 0.1),
    "lerp far": lambda a, b, _: a.lerp(b, 0.9),
    "addcmul": lambda a, b, _: a.addcmul_(b, b, value=0.01),
    "addcdiv": lambda a, b, c: a.addcdiv_(b, c, value=-0.001),
    "sqrt": lambda _a, _b, c: c.sqrt(),
}
SOFTMAX: dict[str, Callable[[Any, Any, Any], Any]] = {
    "log_softmax": lambda a, _b, _c: torch.log_softmax(a, -1),
    "softmax": lambda a, _b, _c: torch.softmax(a, 2),
    "log_softmax backward": lambda a, b, _: aten._log_softmax_backward_data(b, a, 2, a.dtype),
    "softmax backward": lambda a, b, _: aten._softmax_backward_data(b, a, -1, a.dtype),
}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", [*ARITHMETIC, *SOFTMAX])
def test_chunks_need_less_and_change_no_bit(name: str, dtype: torch.dtype) -> None:
    call = (ARITHMETIC | SOFTMAX)[name]
    one, two = (_tensors(ELEMENTS if name in ARITHMETIC else ROWS, dtype) for _ in range(2))
    budget = one[0].nbytes
    whole = call(*one)
    with _Calls() as calls, ChunkedRows(budget):
        cut = call(*two)
    assert calls.most_bytes <= budget / 4
    assert whole.dtype == cut.dtype
    assert whole.shape == cut.shape
    assert torch.equal(whole, cut)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


WHOLE: dict[str, Callable[[Any], Any]] = {
    "small": lambda a: a[:8] + a[:8],
    "another layout": lambda a: a.t() + a.t(),
    "broadcast": lambda a: a + a[0],
    "other types": lambda a: a + a.double(),
    "rows that depend on each other": lambda a: torch.softmax(a, 0),
    "a rest that no vector holds": lambda a: a[1:] + a[1:],
    "not listed": lambda a: a.exp(),
}


@pytest.mark.parametrize("why", WHOLE)
def test_what_could_come_out_otherwise_stays_whole(why: str) -> None:
    tensor = torch.randn(GRAIN, VECTOR - 3)
    with _Calls() as plain:
        WHOLE[why](tensor)
    with _Calls() as calls, ChunkedRows(tensor.nbytes // 2):
        WHOLE[why](tensor)
    assert calls.names == plain.names
