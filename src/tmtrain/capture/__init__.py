"""Capture: one steady PyTorch training step in, a Trace out. torch is imported when a verb is called."""

from tmtrain.capture.catalog import ZOO, ZooModel
from tmtrain.capture.options import StepOptions
from tmtrain.capture.verbs import capture, capture_function, capture_model

__all__ = ["ZOO", "StepOptions", "ZooModel", "capture", "capture_function", "capture_model"]
