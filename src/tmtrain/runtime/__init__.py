"""Real training inside a memory budget, the rest on a flash file. torch is imported when the verb is called."""

from tmtrain.runtime.result import RunResult, StepMeasure
from tmtrain.runtime.verbs import load_checkpoint, train

__all__ = ["RunResult", "StepMeasure", "load_checkpoint", "train"]
