"""`validate`: the parts of a machine's model beside what others measured or built."""

from tmtrain.validation.comparison import Comparison
from tmtrain.validation.verbs import validate

__all__ = ["Comparison", "validate"]
