"""Attention, and the matrix products that it is to an array."""

from dataclasses import dataclass

from tmtrain.errors import InputError
from tmtrain.machine.arrays.products import Products


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Scaled dot-product attention of a batch of sequences, without its projections.

    A causal mask changes no size: known limitation, its zeros are multiplied like the rest.

    >>> Attention(sequences=2, heads=12, queries=1024, keys=1024, head_size=64).products().sizes["n"].tolist()
    [1024, 64]
    """

    sequences: int
    heads: int
    """Of the queries."""
    queries: int
    keys: int
    head_size: int
    key_heads: int | None = None
    """Heads of keys and values; fewer than `heads` where several share one. By default as many."""

    def __post_init__(self) -> None:
        """Refuse sizes that make no attention.

        Raises:
            InputError: says which number is wrong.
        """
        for name in ("sequences", "heads", "queries", "keys", "head_size"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} of an attention is {getattr(self, name)}: give at least 1")
        if self._key_heads < 1 or self.heads % self._key_heads:
            raise InputError(
                f"{self._key_heads} heads of keys for {self.heads} heads of queries: give a divisor of them"
            )

    def products(self) -> Products:
        """Return scores = queries x keys^T and result = scores x values.

        Heads that share their keys are rows of one product. The four products of the gradients are `Products.backward`.
        """
        return Products.of(
            batch=self.sequences * self._key_heads,
            m=self.queries * (self.heads // self._key_heads),
            n=[self.keys, self.head_size],
            k=[self.head_size, self.keys],
        )

    @property
    def _key_heads(self) -> int:
        return self.heads if self.key_heads is None else self.key_heads
