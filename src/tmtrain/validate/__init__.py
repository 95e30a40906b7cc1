"""`validate`: the parts of a machine's model beside what others measured or built."""

from tmtrain.validate.comparison import Comparison
from tmtrain.validate.verbs import validate

__all__ = ["Comparison", "validate"]
