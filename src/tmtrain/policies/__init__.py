"""Ways to manage fast memory: ours and the rivals, one file each, behind one interface (`Policy`)."""

from tmtrain.errors import InputError
from tmtrain.policies.all_fast import AllFast
from tmtrain.policies.behemoth import Behemoth
from tmtrain.policies.belady import Belady
from tmtrain.policies.capuchin import Capuchin
from tmtrain.policies.deepum import DeepUm
from tmtrain.policies.fifo import Fifo
from tmtrain.policies.ial import Ial
from tmtrain.policies.largest_first import LargestFirst
from tmtrain.policies.lru import Lru
from tmtrain.policies.paging import Paging
from tmtrain.policies.policy import Decision, FastMemory, Knowledge, Pager, Policy, Prefetcher
from tmtrain.policies.sentinel import Sentinel
from tmtrain.policies.tiertrain import TierTrain
from tmtrain.policies.tmtrain import Tmtrain, TmtrainMove, follow

DEFAULT_POLICIES = (
    AllFast.name,
    Paging.name,
    Lru.name,
    Belady.name,
    LargestFirst.name,
    TmtrainMove.name,
    Tmtrain.name,
)
"""What an evaluation runs unless told otherwise, in the order of tables."""

POLICIES = (
    *DEFAULT_POLICIES,
    Fifo.name,
    Ial.name,
    DeepUm.name,
    Sentinel.name,
    Capuchin.name,
    Behemoth.name,
    TierTrain.name,
)
"""Every policy by name, in the order of tables."""


def make_policy(name: str, *, objective: str = "energy") -> Policy:
    """Return the policy called `name`; `objective` is what ours minimises.

    Raises:
        InputError: unknown policy.

    >>> make_policy("belady").name
    'belady'
    """
    rivals: dict[str, type[Policy]] = {
        p.name: p
        for p in (
            AllFast,
            Paging,
            Lru,
            Belady,
            LargestFirst,
            Fifo,
            Ial,
            DeepUm,
            Sentinel,
            Capuchin,
            Behemoth,
            TierTrain,
        )
    }
    for ours in (Tmtrain, TmtrainMove):
        if name == ours.name:
            return ours(objective)
    if name not in rivals:
        raise InputError(f"unknown policy {name!r}: choose one of {', '.join(POLICIES)}")
    return rivals[name]()


__all__ = [
    "DEFAULT_POLICIES",
    "POLICIES",
    "Decision",
    "FastMemory",
    "Knowledge",
    "Pager",
    "Policy",
    "Prefetcher",
    "follow",
    "make_policy",
]
