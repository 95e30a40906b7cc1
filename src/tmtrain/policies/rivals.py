"""The rivals: every policy of the package but ours, in the order of tables."""

from tmtrain.deciding import Policy
from tmtrain.policies.pagers.all_fast import AllFast
from tmtrain.policies.pagers.belady import Belady
from tmtrain.policies.pagers.checkpoint_lru import CheckpointLru
from tmtrain.policies.pagers.deepum import DeepUm
from tmtrain.policies.pagers.fifo import Fifo
from tmtrain.policies.pagers.ial import Ial
from tmtrain.policies.pagers.lru import Lru
from tmtrain.policies.pagers.paging import HardwarePaging
from tmtrain.policies.planners.autotm import AutoTmAsync, AutoTmSync
from tmtrain.policies.planners.behemoth import Behemoth
from tmtrain.policies.planners.capuchin import Capuchin
from tmtrain.policies.planners.flashneuron import FlashNeuron
from tmtrain.policies.planners.g10 import G10, G10Paper
from tmtrain.policies.planners.largest_first import LargestFirst
from tmtrain.policies.planners.poet import Poet
from tmtrain.policies.planners.sentinel import Sentinel
from tmtrain.policies.planners.ssdtrain import SsdTrain
from tmtrain.policies.planners.swapadvisor import SwapAdvisor
from tmtrain.policies.planners.tiertrain import TierTrain
from tmtrain.policies.planners.vdnn import Vdnn, VdnnConv, VdnnDyn
from tmtrain.policies.planners.zero_infinity import ZeroInfinity

RIVALS: tuple[type[Policy], ...] = (
    AllFast,
    HardwarePaging,
    Lru,
    CheckpointLru,
    Belady,
    Fifo,
    Ial,
    DeepUm,
    Sentinel,
    Capuchin,
    Behemoth,
    TierTrain,
    LargestFirst,
    G10Paper,
    G10,
    FlashNeuron,
    Vdnn,
    VdnnConv,
    VdnnDyn,
    SsdTrain,
    ZeroInfinity,
    SwapAdvisor,
    AutoTmSync,
    AutoTmAsync,
    Poet,
)
"""In the order of tables."""
