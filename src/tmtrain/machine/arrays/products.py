"""Products: matrix products as columns of sizes, the one form in which work reaches the arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmtrain.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Matrix products: `batch` of m x k by k x n each. Columns that broadcast against each other.

    >>> Products.of(batch=2, m=[3, 4], n=5, k=6).flops.tolist()
    [360.0, 480.0]
    """

    batch: NDArray[np.int64]
    """Number of equal products."""
    m: NDArray[np.int64]
    """Rows of the activations and of the result."""
    n: NDArray[np.int64]
    """Columns of the weights and of the result."""
    k: NDArray[np.int64]
    """Inner dimension."""

    @classmethod
    def of(cls, *, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike) -> "Products":
        """Return products of these sizes.

        Raises:
            InputError: a size is negative or not a whole number.
        """
        sizes = {"batch": batch, "m": m, "n": n, "k": k}
        return cls(**{name: _whole(name, size) for name, size in sizes.items()})

    @classmethod
    def joined(cls, parts: Iterable["Products"]) -> "Products":
        """Return all rows of `parts`, one after the other."""
        rows = [np.broadcast_arrays(*(np.atleast_1d(size) for size in part.sizes.values())) for part in parts]
        batch, m, n, k = (np.concatenate(column) for column in zip(*rows, strict=True))
        return cls(batch=batch, m=m, n=n, k=k)

    @property
    def sizes(self) -> dict[str, NDArray[np.int64]]:
        """The four columns by name, as `matrix_cycles` and its like take them."""
        return {"batch": self.batch, "m": self.m, "n": self.n, "k": self.k}

    @property
    def flops(self) -> NDArray[np.float64]:
        """Floating-point operations; a multiply-add is two."""
        return 2.0 * self.batch.astype(np.float64) * self.m * self.n * self.k

    @property
    def backward(self) -> "Products":
        """The products of the gradients: of the activations, dA = dC B^T, and of the weights, dB = A^T dC."""
        to_activations = Products(batch=self.batch, m=self.m, n=self.k, k=self.n)
        to_weights = Products(batch=self.batch, m=self.k, n=self.n, k=self.m)
        return Products.joined([to_activations, to_weights])


def _whole(name: str, size: ArrayLike) -> NDArray[np.int64]:
    sizes = np.asarray(size)
    with np.errstate(invalid="ignore"):  # infinity and NaN become some number, and differ from it
        whole = sizes.astype(np.int64)
    if (whole != sizes).any() or (whole < 0).any():
        raise InputError(f"{name} of a matrix product is {size}: sizes are whole numbers of at least 0")
    return whole
