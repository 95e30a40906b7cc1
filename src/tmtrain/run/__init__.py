"""run: real training inside a memory budget, the rest on a flash file. torch is imported when the verb is called."""

from tmtrain.run.result import RunResult, StepMeasure
from tmtrain.run.verbs import load_checkpoint, train

__all__ = ["RunResult", "StepMeasure", "load_checkpoint", "train"]
