"""`make test` tries the same each time; `make test-all` tries what is new, and everything."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from tests.support.thoroughness import examples, rest_slow, seeds

MAKEFILE = (Path(__file__).parents[2] / "Makefile").read_text()


def test_the_quick_profile_draws_the_same_and_the_thorough_one_does_not() -> None:
    quick, thorough = settings.get_profile("ci"), settings.get_profile("thorough")
    assert quick.derandomize
    assert quick.database is None
    assert not thorough.derandomize
    assert thorough.max_examples >= 100 > quick.max_examples
    assert quick.deadline is thorough.deadline is None


def test_make_test_all_is_thorough() -> None:
    assert MAKEFILE.count("--hypothesis-profile=thorough") == 1
    assert '-m "not gpu" --hypothesis-profile=thorough' in MAKEFILE


def test_examples_and_seeds_scale_with_the_profile() -> None:
    share = settings().max_examples / 100
    assert examples(1000).max_examples == 1000 * share
    assert examples(1).max_examples == 5
    assert len(seeds(100)) == 100 * min(1, share)
    assert seeds(50, first=7)[0] == 7


def test_the_rest_is_slow() -> None:
    first, second = rest_slow([(1, 2), (3, 4)])
    assert first == (1, 2)
    assert second.values == (3, 4)
    assert second.marks[0].name == "slow"
    assert rest_slow([1, 2])[1].values == (2,)
    assert rest_slow([(1, 2), (3, 4)], whole=True)[1].values == ((3, 4),)


@pytest.mark.parametrize("turn", range(2))
def test_every_test_begins_with_the_same_seeds(turn: int) -> None:
    drawn = random.random(), np.random.random(), torch.rand(1).item()
    random.seed(0)
    torch.manual_seed(0)
    assert drawn == (random.random(), np.random.RandomState(0).random(), torch.rand(1).item())
