"""Where the random generators are that other people's loops keep."""

import random
from typing import Any

import numpy as np
import torch


def random_states() -> dict[str, Any]:
    """Return the states of the generators of Python, numpy and torch.

    >>> states = random_states()
    >>> drawn = random.random(), np.random.rand(), torch.rand(1)
    >>> set_random_states(states)
    >>> drawn == (random.random(), np.random.rand(), torch.rand(1))
    True
    """
    return {"python": random.getstate(), "numpy": np.random.get_state(), "torch": torch.get_rng_state()}


def set_random_states(states: dict[str, Any]) -> None:
    """Put them where they were."""
    random.setstate(states["python"])
    np.random.set_state(states["numpy"])
    torch.set_rng_state(states["torch"])
