"""A batch out of data that is large for the budget is gathered row by row, with the same bits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.runtime.dispatch.chunks import Chunks

MIB = 1 << 20
ROWS = torch.arange(2048 * 1024, dtype=torch.float32).view(2048, 1024)
"""8 MiB."""
ORDER = torch.randperm(2048, generator=torch.Generator().manual_seed(0))[:32]

GATHERS: dict[str, Callable[[], torch.Tensor]] = {
    "stacked rows": lambda: torch.stack([ROWS[row] for row in ORDER.tolist()]),
    "stacked beside each other": lambda: torch.stack([ROWS[row] for row in ORDER.tolist()], 1),
    "stacked from the end": lambda: torch.stack([ROWS[row] for row in ORDER.tolist()], -1),
    "rows one after the other": lambda: torch.cat([ROWS[row] for row in ORDER.tolist()]),
    "parts beside each other": lambda: torch.cat([ROWS[row % 2000 :][:2] for row in ORDER.tolist()], 1),
    "rows by their numbers": lambda: ROWS[ORDER],
    "rows from the end": lambda: ROWS[ORDER - 2048],
    "selected rows": lambda: ROWS.index_select(0, ORDER),
    "small numbers": lambda: ROWS.index_select(0, ORDER.int()),
    "planes": lambda: ROWS.view(2048, 32, 32)[ORDER],
}


class _Names(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", GATHERS)
def test_rows_from_many_blocks_are_copied_one_by_one(name: str) -> None:
    expected = GATHERS[name]()
    with _Names() as names, Chunks(4 * MIB):
        gathered = GATHERS[name]()
    assert torch.equal(gathered, expected)
    assert gathered.stride() == expected.stride()
    assert names.seen.count("aten.copy_.default") == 32


def test_what_lies_together_or_is_small_is_gathered_as_it_is() -> None:
    for budget_bytes, gather in (
        (4 * MIB, lambda: torch.stack([ROWS[row] for row in range(100, 132)])),
        (64 * MIB, lambda: ROWS[ORDER]),
        (4 * MIB, lambda: ROWS[:, ORDER[:4] % 1024]),  # another dimension: it needs everything
    ):
        with _Names() as names, Chunks(budget_bytes):
            gather()
        assert "aten.copy_.default" not in names.seen


def test_a_row_that_is_not_there_is_refused_in_torchs_words() -> None:
    with pytest.raises(IndexError, match="out of range"), Chunks(4 * MIB):
        ROWS[torch.tensor([5000])]
