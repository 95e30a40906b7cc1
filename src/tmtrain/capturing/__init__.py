"""One steady PyTorch training step in, a Trace out. Makes Traces, knows no machine; imports torch when a verb is called."""

from tmtrain.capturing.jobs.catalog import ZOO, ZooModel
from tmtrain.capturing.jobs.options import StepOptions
from tmtrain.capturing.verbs import capture, capture_function, capture_model

__all__ = ["ZOO", "StepOptions", "ZooModel", "capture", "capture_function", "capture_model"]
