"""What a formula is."""

from collections.abc import Callable

from tmtrain.counting.call import OperatorCall
from tmtrain.counting.work import OperatorWork

Formula = Callable[[OperatorCall], OperatorWork]
"""The work of a call. Raises LookupError, TypeError or ValueError if it is a call of something else with that name."""
