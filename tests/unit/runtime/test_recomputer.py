"""What is discarded is recomputed, bit for bit, whenever it is discarded and whatever happens meanwhile."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.mover import Mover
from tmtrain.runtime.tier.pages import PAGE_BYTES, keep_large_blocks_apart
from tmtrain.runtime.tier.tier import Tier

MIB = 1 << 20
SIDE = 512
"""A matrix has 1 MiB."""


@pytest.fixture
def residency(tmp_path: Path) -> Iterator[ResidencyMode]:
    keep_large_blocks_apart()
    torch.manual_seed(0)
    flash = FlashFile(tmp_path, size_bytes=64 * MIB)
    tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=64 * MIB)
    mode = ResidencyMode(tier)
    mode.begin_step(StepObserver())
    mode.recomputer.expect(frozenset(range(100_000)))
    yield mode
    mode.recomputer.end_step()
    tier.close()


def _tier(residency: ResidencyMode) -> Tier:
    return residency._tier  # pyright: ignore[reportPrivateUsage]


def _discard(residency: ResidencyMode, tensor: torch.Tensor) -> bool:
    return residency.recomputer.discard(storage_key(tensor.untyped_storage()))


def _is_away(residency: ResidencyMode, tensor: torch.Tensor) -> bool:
    key = storage_key(tensor.untyped_storage())
    return any(block.state.value == "away" for block in _tier(residency).blocks_of(key))


def test_what_is_discarded_leaves_memory_unwritten_and_is_recomputed_when_touched(
    residency: ResidencyMode,
) -> None:
    start = torch.randn(SIDE, SIDE)
    with residency:
        hidden = start.mul(2).relu()
        expected = hidden.clone()
        used = _tier(residency).used_bytes
        assert _discard(residency, hidden)
        assert MIB - 2 * PAGE_BYTES <= used - _tier(residency).used_bytes <= MIB  # whole pages
        assert _is_away(residency, hidden)
        assert torch.equal(hidden, expected)
        assert not _is_away(residency, hidden)
    assert residency.recomputer.recomputations == 2  # the product died with its name
    assert _tier(residency).mover.moved.bytes_out == 0


def test_the_same_noise_is_drawn_again_and_the_generator_goes_on_where_it_was(
    residency: ResidencyMode,
) -> None:
    start = torch.ones(SIDE, SIDE)
    with residency:
        noisy = torch.nn.functional.dropout(start, 0.5)
        expected = noisy.clone()
        assert _discard(residency, noisy)
        before = torch.get_rng_state()
        assert torch.equal(noisy, expected)
        assert torch.equal(torch.get_rng_state(), before)


def test_before_something_is_overwritten_its_heirs_are_recomputed(residency: ResidencyMode) -> None:
    start = torch.randn(SIDE, SIDE)
    with residency:
        hidden = start.exp()
        expected = hidden.clone()
        assert _discard(residency, hidden)
        start.zero_()
        assert not _is_away(residency, hidden)
        assert torch.equal(hidden, expected)
        assert not _discard(residency, hidden)  # its source is gone


def test_a_source_outlives_its_name(residency: ResidencyMode) -> None:
    start = torch.randn(SIDE, SIDE)
    with residency:
        product = start.mul(3)
        hidden = product.tanh()
        expected = hidden.clone()
        start.zero_()
        assert _discard(residency, hidden)
        del product
        managed_storages = len(_tier(residency))
        assert torch.equal(hidden, expected)
        assert len(_tier(residency)) == managed_storages - 1  # the product is gone now


def test_a_nameless_source_may_be_discarded_too_and_then_dies(residency: ResidencyMode) -> None:
    start = torch.randn(SIDE, SIDE)
    with residency:
        near = start.sin()
        far = near.exp()
        expected = far.clone()
        assert _discard(residency, far)
        key = storage_key(near.untyped_storage())
        del near
        assert key in _tier(residency)  # kept for its heir
        assert residency.recomputer.discard(key)
        assert key not in _tier(residency)
        assert not residency.recomputer.is_discarded(key)
        assert torch.equal(far, expected)


def test_of_a_chain_all_may_be_discarded_in_any_order(residency: ResidencyMode) -> None:
    start = torch.randn(SIDE, SIDE)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)):
        with residency:
            one = start.sin()
            two = one @ start
            three = two.sigmoid()
            chain = [one, two, three]
            expected = [tensor.clone() for tensor in chain]
            for position in order:
                assert _discard(residency, chain[position])
            residency.recomputer.recompute([storage_key(three.untyped_storage())])
            assert not any(_is_away(residency, tensor) for tensor in chain)  # recomputed on the way
            assert all(map(torch.equal, chain, expected))


def test_heirs_further_on_are_recomputed_too_before_the_source_of_all_is_overwritten(
    residency: ResidencyMode,
) -> None:
    start = torch.randn(SIDE, SIDE)
    with residency:
        near = start.sin()
        far = near.exp()
        expected = far.clone()
        assert _discard(residency, far)
        assert _discard(residency, near)
        start.zero_()
        near.zero_()
        is_same = torch.equal(far, expected)
    assert is_same


def test_what_is_shared_with_others_is_no_source(residency: ResidencyMode) -> None:
    array = torch.randn(SIDE, SIDE).numpy()
    with residency:
        hidden = torch.from_numpy(array).mul(2)
        assert not _discard(residency, hidden)
        assert not _is_away(residency, hidden)


def test_at_the_end_of_a_step_nothing_is_missing(residency: ResidencyMode) -> None:
    with residency:
        start = torch.randn(SIDE, SIDE)
        hidden, lost = start.cos(), start.exp()
        expected = start.cos()
        assert _discard(residency, hidden)
        assert _discard(residency, lost)
        del lost
    recomputations = residency.recomputer.recomputations
    residency.recomputer.end_step()
    assert residency.recomputer.recomputations == recomputations + 1
    assert torch.equal(hidden, expected)


OPERATORS: tuple[Callable[[torch.Tensor, torch.Tensor], torch.Tensor], ...] = (
    lambda a, _: a.sin(),
    torch.add,
    lambda a, b: a.t() @ b,
    lambda a, b: torch.nn.functional.layer_norm(a, (SIDE,), b[0]),
    lambda a, _: torch.nn.functional.dropout(a, 0.3),
    lambda a, b: a.mul_(0.5).add_(b[:, :1]),
    lambda a, _: a.view(-1)[: SIDE * SIDE // 2].clone().repeat(2).view(SIDE, SIDE),
    lambda a, b: torch.cat([a[:100], b[100:]]),
    lambda a, b: a.copy_(b.cos()),
    lambda a, _: torch.nn.functional.gelu(a[::2]).repeat(2, 1),
    lambda a, _: a.relu_().clone(),
    lambda a, _: a.split(SIDE // 2)[1].repeat(2, 1),
)


def _programme(seed: int, *, after_each: Callable[[list[torch.Tensor]], None]) -> list[torch.Tensor]:
    """Run a random programme that makes tensors, works on them in place, and lets go of them."""
    dice = random.Random(seed)
    torch.manual_seed(seed)
    tensors = [torch.randn(SIDE, SIDE) for _ in range(3)]
    for _ in range(30):
        result = dice.choice(OPERATORS)(dice.choice(tensors), dice.choice(tensors))
        if all(result is not tensor for tensor in tensors):
            tensors.append(result)
        del result
        if len(tensors) > 6:
            tensors.pop(dice.randrange(len(tensors)))
        after_each(tensors)
    return tensors


@pytest.mark.parametrize("seed", range(25))
def test_random_programmes_compute_the_same_whatever_is_discarded_when(
    residency: ResidencyMode, seed: int
) -> None:
    expected = _programme(seed, after_each=lambda _: None)
    dice = random.Random(-seed)
    discarded = 0

    def discard_some(tensors: list[torch.Tensor]) -> None:
        nonlocal discarded
        for tensor in tensors:
            if dice.random() < 0.4:
                discarded += _discard(residency, tensor)

    with residency:
        results = _programme(seed, after_each=discard_some)
        assert all(map(torch.equal, results, expected))
    assert discarded > 5
