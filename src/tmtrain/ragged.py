"""Runs of different lengths, as flat rows."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def lay_flat(lengths: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every row of runs that follow one another, the number of its run and its position in it, from 0.

    Both have shape (sum of `lengths`,).

    >>> run, position = lay_flat([2, 0, 3])
    >>> run.tolist(), position.tolist()
    ([0, 0, 2, 2, 2], [0, 1, 0, 1, 2])
    """
    size = np.asarray(lengths, np.int64)
    run = np.repeat(np.arange(len(size)), size)
    return run, np.arange(len(run)) - np.repeat(np.cumsum(size) - size, size)
