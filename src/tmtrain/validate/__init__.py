"""`validate`: the parts of a machine's model beside what others measured or built."""

from tmtrain.validate.comparison import Comparison

__all__ = ["Comparison"]
