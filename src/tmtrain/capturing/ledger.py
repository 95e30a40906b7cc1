"""The births and deaths of storages, in operators."""

import contextlib
import gc
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.errors import CaptureError


@dataclass(slots=True, kw_only=True)
class StorageRecord:
    """What happened to one storage; the ledger fills it in."""

    bytes: int
    dtype: str
    birth_op: int
    existed: bool
    """Was there before the step."""
    maker: str = ""
    """``op#index.result``; "" where no operator made it."""
    death_op: int | None = None
    """None while it lives."""


class NoStorageError(CaptureError):
    """A tensor has no storage of its own; the recorder adds which operator met it."""


class StorageLedger:
    """Every storage that was there at the start or was seen since, by a number given at first sight.

    Note [Storage identity]: torch gives one Python object per storage for as long as the storage lives,
    whoever holds it (Python, autograd, C++). That object ends when the memory is freed, and until then its key
    names this storage and no other.
    """

    def __init__(self) -> None:
        self.records: list[StorageRecord] = []
        self._now = 0
        self._number: dict[int, int] = {}
        self._watch: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    @property
    def now(self) -> int:
        """Operators finished so far: the time of births and deaths."""
        return self._now

    def finish_operator(self) -> None:
        """Go on to the next operator."""
        self._now += 1

    @property
    def living(self) -> dict[int, int]:
        """Numbers of the storages that are alive now, by `storage_key`."""
        return dict(self._number)

    def number_of(self, key: int) -> int | None:
        """Return the number of the storage with that `storage_key`, None if it was never seen."""
        return self._number.get(key)

    def find(self, tensor: torch.Tensor) -> int | None:
        """Return the number of the tensor's storage, None if it was never seen."""
        return self._number.get(storage_key(storage_of(tensor)))

    def add(self, tensor: torch.Tensor, *, existed: bool = False, maker: str = "") -> int:
        """Return the number of the tensor's storage; a new one is born now, or before the step."""
        storage = storage_of(tensor)
        key = storage_key(storage)
        number = self._number.get(key)
        if number is not None:
            return number
        number = self._number[key] = len(self.records)
        self.records.append(
            StorageRecord(
                bytes=storage.nbytes(),
                dtype=dtype_name(tensor.dtype),
                birth_op=self._now,
                existed=existed,
                maker=maker,
            )
        )
        self._watch[key] = weakref.ref(storage, partial(self._died, key, number))
        return number

    def grow(self, number: int, tensor: torch.Tensor) -> None:
        """Note that an operator may have made the storage larger (``resize_``, ``out=``)."""
        record = self.records[number]
        record.bytes = max(record.bytes, storage_of(tensor).nbytes())

    def add_everything(self) -> None:
        """Enter every tensor that Python holds now: the batch, the last loss, whatever the step may free."""
        for tensor in _living_tensors():
            with contextlib.suppress(NoStorageError):
                self.add(tensor, existed=True)

    def close(self) -> None:
        """Stop watching: what dies from now on dies after the step."""
        self._watch.clear()
        self._number.clear()

    def _died(self, key: int, number: int, _reference: "weakref.ref[torch.UntypedStorage]") -> None:
        self.records[number].death_op = self._now
        # The key too: torch gives it to another storage from here on.
        del self._number[key]
        del self._watch[key]


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage:
    """Return the tensor's storage.

    Raises:
        NoStorageError: the tensor has none (sparse, nested or a wrapper such as DTensor).
    """
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError) as error:
        raise NoStorageError(
            f"a {type(tensor).__name__} of layout {tensor.layout} and shape {tuple(tensor.shape)} has no"
            " storage of its own: only dense tensors can be captured (e.g. nn.Embedding with sparse=False)"
        ) from error


def dtype_name(dtype: torch.dtype) -> str:
    """Return the dtype without the prefix.

    >>> dtype_name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")


def _living_tensors() -> Iterator[torch.Tensor]:
    # type(), not isinstance(): the latter asks __class__, which lazy proxies answer by importing things.
    return (thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor))
