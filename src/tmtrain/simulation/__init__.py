"""Timeline x policy -> Result: the engine that judges every plan by the same rules."""

from tmtrain.simulation.best import Tried, objective_of, try_policy
from tmtrain.simulation.file import load_result, save_result
from tmtrain.simulation.result import Conservation, Result, Series, Traffic
from tmtrain.simulation.run import simulate, step_energy

__all__ = [
    "Conservation",
    "Result",
    "Series",
    "Traffic",
    "Tried",
    "load_result",
    "objective_of",
    "save_result",
    "simulate",
    "step_energy",
    "try_policy",
]
