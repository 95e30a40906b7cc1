"""What the host asks of the device: columns, one row per request."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError


class RequestKind(IntEnum):
    """What a request does with its bytes."""

    READ = 0
    WRITE = 1
    DISCARD = 2
    """They are dead: nobody will read them before they are written again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """Requests in order of arrival. Reads may be of any bytes; writes and discards are whole pages."""

    arrival_s: NDArray[np.float64]
    kind: NDArray[np.int8]
    """A `RequestKind`."""
    first_byte: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    group: NDArray[np.int32]
    """Death group of what a write brings: data of one group die together. 0 where the layout does not group."""

    def __post_init__(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in self.__slots__}
        if len(set(lengths.values())) != 1:
            raise InputError(f"requests: the columns differ in length: {lengths}")
        if len(self) and bool((np.diff(self.arrival_s) < 0).any()):
            later = int(np.argmax(np.diff(self.arrival_s) < 0)) + 1
            raise InputError(
                f"requests.arrival_s: request {later} arrives before the one ahead of it: sort them"
            )
        for name in ("arrival_s", "first_byte", "group"):
            self._refuse(getattr(self, name) < 0, name, "must not be negative")
        self._refuse(self.size_bytes <= 0, "size_bytes", "must be more than zero")
        self._refuse(~np.isin(self.kind, list(RequestKind)), "kind", "must be a RequestKind")

    def __len__(self) -> int:
        return len(self.arrival_s)

    def check_pages(self, page_bytes: int) -> None:
        """Refuse writes and discards of parts of pages.

        Raises:
            InputError: there is one; reading the rest of its page first is not modelled.
        """
        parts = (self.first_byte % page_bytes != 0) | (self.size_bytes % page_bytes != 0)
        self._refuse(
            parts & (self.kind != RequestKind.READ),
            "size_bytes",
            f"writes and discards must be whole pages of {page_bytes} bytes, at a page's start",
        )

    def _refuse(self, wrong: NDArray[np.bool_], name: str, rule: str) -> None:
        if wrong.any():
            request = int(np.argmax(wrong))
            raise InputError(f"requests.{name}: request {request} has {getattr(self, name)[request]}: {rule}")


def make_requests(
    kind: RequestKind,
    first_byte: NDArray[np.int64],
    *,
    size_bytes: int,
    arrival_s: float | NDArray[np.float64] = 0.0,
    group: int | NDArray[np.int32] = 0,
) -> Requests:
    """Make requests of one kind and size; all at one time makes a burst, worked off at the device's queue depth.

    >>> len(make_requests(RequestKind.WRITE, np.arange(4) * 4096, size_bytes=4096))
    4
    """
    n = len(first_byte)
    return Requests(
        arrival_s=np.broadcast_to(np.asarray(arrival_s, np.float64), n).copy(),
        kind=np.full(n, kind, np.int8),
        first_byte=np.asarray(first_byte, np.int64),
        size_bytes=np.full(n, size_bytes, np.int64),
        group=np.broadcast_to(np.asarray(group, np.int32), n).copy(),
    )


def concatenate(*parts: Requests) -> Requests:
    """Put requests one after another; each part must not arrive before the one ahead of it."""
    return Requests(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in Requests.__slots__}
    )
