"""Ways to manage fast memory: ours and the rivals, one file each, behind one interface (`Policy`).

Ours
    tmtrain, tmtrain-move           the plan of `tmtrain.planning`, followed to the letter

`pagers`: they manage while the step runs
    all-fast                        the ideal: everything fits
    paging                          page faults of the hardware, by address
    lru, fifo, ial                  replacement by recency, by arrival, by two lists
    checkpoint-lru                  by recency, of a step that recomputes every block
    belady                          replacement by the future
    deepum                          prefetching by correlation

`planners`: they decide before the step runs
    whole tensors, by a rule        largest-first, g10-paper, g10, flashneuron, vdnn-all, vdnn-conv, vdnn-dyn, ssdtrain,
                                    zero-infinity, swapadvisor, capuchin
    whole tensors, by a programme   autotm-sync, autotm-async, poet
    extents, layer by layer         sentinel, behemoth, tiertrain

A new policy is a file in one of the rooms and a line in `rivals.py`.
"""

from tmtrain.deciding import Policy
from tmtrain.errors import InputError
from tmtrain.policies.ours import Tmtrain, TmtrainMove, follow, plan
from tmtrain.policies.pagers.all_fast import AllFast
from tmtrain.policies.pagers.checkpoint_lru import CheckpointLru
from tmtrain.policies.planners.capuchin import Capuchin
from tmtrain.policies.planners.flashneuron import FlashNeuron
from tmtrain.policies.planners.g10 import G10
from tmtrain.policies.planners.zero_infinity import ZeroInfinity
from tmtrain.policies.rivals import RIVALS

_OURS: tuple[type[Tmtrain], ...] = (TmtrainMove, Tmtrain)

POLICIES = tuple(policy.name for policy in (*RIVALS, *_OURS))
"""Every policy by name, in the order of tables."""

DEFAULT_POLICIES = (
    AllFast.name,
    CheckpointLru.name,
    ZeroInfinity.name,
    G10.name,
    FlashNeuron.name,
    Capuchin.name,
    Tmtrain.name,
)
"""Those that a comparison shows unless it is asked for others: what people would name, between the ideal and ours."""


def make_policy(name: str, *, objective: str = "energy") -> Policy:
    """Return the policy called `name`; `objective` is what ours minimises.

    Raises:
        InputError: unknown policy.

    >>> make_policy("belady").name
    'belady'
    """
    for ours in _OURS:
        if name == ours.name:
            return ours(objective)
    for rival in RIVALS:
        if name == rival.name:
            return rival()
    raise InputError(f"unknown policy {name!r}: choose one of {', '.join(POLICIES)}")


__all__ = [
    "DEFAULT_POLICIES",
    "POLICIES",
    "follow",
    "make_policy",
    "plan",
]
