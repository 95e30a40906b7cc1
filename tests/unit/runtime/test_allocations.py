"""What operators allocate: told by shapes where they tell, remembered where they do not."""

import torch

from tmtrain.runtime.dispatch.allocations import AllocationBook

MIB = 1 << 20
_aten = torch.ops.aten
X = torch.zeros(512, 512)
"""1 MiB."""


def test_shapes_tell_what_most_operators_make() -> None:
    book = AllocationBook()
    allocation = book.expected(_aten.mm.default, (X, X), {})
    assert allocation.told_bytes == allocation.room_bytes == MIB
    assert allocation.is_sure
    assert book.expected(_aten.mm.default, (X, X), {}) is allocation


def test_a_call_that_made_more_is_expected_to_do_so_again_and_says_the_same_of_its_shapes() -> None:
    book = AllocationBook()
    allocation = book.expected(_aten.huber_loss.default, (X, X), {})
    book.made(allocation, MIB, _aten.huber_loss.default, ())
    again = book.expected(_aten.huber_loss.default, (X, X), {})
    assert (again.told_bytes, again.room_bytes) == (allocation.told_bytes, MIB)
    assert not again.is_sure
    other = book.expected(_aten.huber_loss.default, (X[:64], X[:64]), {})
    assert other.is_sure  # what is remembered is of these shapes


def test_what_depends_on_values_is_bounded_where_that_is_known_before_it_first_runs() -> None:
    book = AllocationBook()
    mask = X > 0
    for func, args, bound in (
        (_aten.nonzero.default, (mask,), 4 * MIB),  # two numbers of 8 bytes for each of 2^18 elements
        (_aten.index.Tensor, (X, [mask]), MIB),
        (_aten.masked_select.default, (X, mask), MIB),
    ):
        allocation = book.expected(func, args, {})
        assert (allocation.told_bytes, allocation.room_bytes) == (None, bound)


def test_where_nobody_knows_anything_the_first_call_tells_of_others_in_proportion_to_their_operands() -> None:
    book = AllocationBook()
    func, repeats = _aten.repeat_interleave.Tensor, torch.ones(1024, dtype=torch.int64)
    first = book.expected(func, (repeats,), {})
    assert (first.told_bytes, first.room_bytes) == (None, None)
    book.made(first, 1024 * 1024, func, [repeats.untyped_storage()])
    same, larger = book.expected(func, (repeats,), {}), book.expected(func, (repeats.repeat(2),), {})
    assert same.room_bytes is not None
    assert larger.room_bytes is not None
    assert same.room_bytes >= 1024 * 1024
    assert larger.room_bytes >= 2 * 1024 * 1024


def test_a_call_whose_arguments_are_no_key_is_told_each_time() -> None:
    book = AllocationBook()
    allocation = book.expected(_aten.mm.default, (X, X), {"odd": {1, 2}})
    assert allocation.call is None
