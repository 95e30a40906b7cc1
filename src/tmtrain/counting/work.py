"""The arithmetic of one operator."""

from typing import NamedTuple


class OperatorWork(NamedTuple):
    """Arithmetic of one operator; the fields mean what they mean in `tmtrain.trace.Operators`."""

    flops: int = 0
    batch: int = 0
    m: int = 0
    n: int = 0
    k: int = 0


NO_WORK = OperatorWork()


def product_work(batch: int, m: int, n: int, k: int, *, products: int = 1) -> OperatorWork:
    """Return the work of `products` equal matrix products.

    >>> product_work(1, 3, 7, 5)
    OperatorWork(flops=210, batch=1, m=3, n=7, k=5)
    """
    return OperatorWork(flops=2 * batch * m * n * k * products, batch=batch, m=m, n=n, k=k)
