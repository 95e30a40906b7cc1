"""The parts of a machine's model beside what others measured or built. Measures the model, changes nothing of it."""

from tmtrain.validation.comparison import Comparison
from tmtrain.validation.verbs import validate

__all__ = ["Comparison", "validate"]
