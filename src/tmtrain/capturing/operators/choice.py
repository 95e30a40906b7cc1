"""Which operators a step on fake tensors runs."""

from collections.abc import Generator
from contextlib import contextmanager

from tmtrain.capturing.jobs.options import Operators
from tmtrain.capturing.operators.autocast import accelerator_autocast
from tmtrain.capturing.operators.kernels import AcceleratorKernels
from tmtrain.capturing.operators.mode import AcceleratorOperators


@contextmanager
def running(operators: Operators) -> Generator[None]:
    """Run the operators of an accelerator inside, or those of a CPU; enter it inside a fake tensor mode."""
    if operators == "cpu":
        yield
        return
    with accelerator_autocast(), AcceleratorKernels(), AcceleratorOperators():
        yield
