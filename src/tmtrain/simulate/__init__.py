"""Timeline x policy -> Result: the engine that judges every plan by the same rules."""

from tmtrain.simulate.best import Tried, try_policy
from tmtrain.simulate.file import load_result, save_result
from tmtrain.simulate.result import Conservation, Result, Series, Traffic
from tmtrain.simulate.run import simulate, step_energy

__all__ = [
    "Conservation",
    "Result",
    "Series",
    "Traffic",
    "Tried",
    "load_result",
    "save_result",
    "simulate",
    "step_energy",
    "try_policy",
]
