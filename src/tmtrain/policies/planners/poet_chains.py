"""What POET may recompute: producers at the moments of backward at which something of theirs is needed, in chains.

The published programme has a variable per operator and time step. Here a time step is a *moment*, the end of an inactive
period in backward, and an operator is a producer (`tmtrain.lowering.producers`). At a moment it may run again if what it
makes is needed then, or if another one that runs again then reads what it makes: a chain. What is dead by then exists for
the chain only, what is needed later stays from then on. A chain goes back over `CHAIN` producers at most: further back, it
is cheaper to keep something in between.
"""

from collections.abc import Iterator

import numpy as np

from tmtrain.policies.shared.tensor_recomputation import TensorProducers, TensorRecomputation
from tmtrain.policies.shared.tensors import Tensors
from tmtrain.trace import Phase

CHAIN = 12
"""Producers that may run again for one that is needed."""


def find_chains(tensors: Tensors) -> list[TensorRecomputation]:
    """Return what may be recomputed, in order of moments and, at each, of forward."""
    producers = TensorProducers(tensors)
    runs: dict[tuple[int, int], TensorRecomputation | None] = {}
    wanted: set[tuple[int, int]] = set()
    for wanted_producer, at in _moments(tensors, producers):
        wanted.update((producer, at) for producer in _chain(tensors, producers, wanted_producer, at, runs))
    possible = {key: recomputation for key in wanted if (recomputation := runs[key]) is not None}
    return _complete(possible)


def _moments(tensors: Tensors, producers: TensorProducers) -> Iterator[tuple[int, int]]:
    """Yield each producer with a result that is needed again in backward, and when."""
    periods, T = tensors.periods, tensors.num_slices
    in_backward = (periods.end < T) & (tensors.timeline.slices.phase[periods.end % T] == Phase.BACKWARD)
    for p in np.flatnonzero(in_backward).tolist():
        producer = producers.of_storage.get(int(periods.storage[p]))
        if producer is not None:
            yield producer, int(periods.end[p])


def _chain(
    tensors: Tensors,
    producers: TensorProducers,
    wanted: int,
    at: int,
    runs: dict[tuple[int, int], TensorRecomputation | None],
) -> list[int]:
    """Return the producers of a chain, nearest first; looks them up in `runs` and enters there what is new."""
    seen: dict[int, None] = {}
    pending = [wanted]
    while pending and len(seen) < CHAIN:
        producer = pending.pop(0)
        if producer in seen:
            continue
        seen[producer] = None
        if (producer, at) not in runs:
            runs[producer, at] = producers.recompute_in_chain(producer, at)
        recomputation = runs[producer, at]
        if recomputation is not None:
            storages = (int(tensors.periods.storage[p]) for p in recomputation.needs)
            makers = (producers.of_storage.get(storage) for storage in storages)
            # What must run again comes before what may.
            pending = [*recomputation.sources, *pending, *(maker for maker in makers if maker is not None)]
    return list(seen)


def _complete(possible: dict[tuple[int, int], TensorRecomputation]) -> list[TensorRecomputation]:
    """Return those whose sources are among them, and theirs, and so on."""
    while True:
        lacking = [
            key
            for key, recomputation in possible.items()
            if any((source, recomputation.before) not in possible for source in recomputation.sources)
        ]
        if not lacking:
            return [possible[key] for key in sorted(possible, key=lambda key: (key[1], key[0]))]
        for key in lacking:
            del possible[key]
