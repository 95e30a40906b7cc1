"""A job built and run on fake tensors: shapes without bytes, so a model of any size takes little memory.

The first step creates the optimizer's state and is only watched. Every later one repeats the second, which is
recorded.
"""

import dataclasses
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tmtrain.capturing.faults import Building, FaultWatch
from tmtrain.capturing.jobs.job import TrainingJob, optimizers_of
from tmtrain.capturing.jobs.models.zoo_model import ZooModel
from tmtrain.capturing.jobs.options import Operators, ResolvedOptions
from tmtrain.capturing.jobs.user import UserFunction, user_errors
from tmtrain.capturing.operators.choice import running
from tmtrain.capturing.pretending.conversions import convertible_modules
from tmtrain.capturing.pretending.devices import absent_devices
from tmtrain.capturing.pretending.grouped import mend_grouped_products
from tmtrain.capturing.pretending.values import small_values
from tmtrain.capturing.scope import Scope
from tmtrain.capturing.session import CaptureSession
from tmtrain.trace import Trace


def capture_zoo_model(model: ZooModel, options: ResolvedOptions) -> Trace:
    """Capture a model of the catalog with resolved options."""
    # The zoo is made of transformers, which takes seconds to import; a user's model need not be.
    import transformers

    from tmtrain.capturing.jobs.zoo import build_job

    described = dataclasses.asdict(options) | dict(model.notes) | {"transformers": transformers.__version__}
    with FakeTensorMode():
        with small_values():
            job = build_job(model, options)
        return _second_step(job, operators=options.operators, name=model.name, options=described)


def capture_user_function(
    function: UserFunction, *, name: str, samples: int, operators: Operators = "accelerator"
) -> Trace:
    """Capture what the user's function returns.

    Raises:
        CaptureError: their code fails, returns something else, or cannot run on fake tensors.
    """
    # Their batch may come from numpy or a file: such tensors become fake at their first use.
    with user_errors(function), FakeTensorMode(allow_non_fake_inputs=True), absent_devices():
        with small_values(), convertible_modules(), FaultWatch(Building()):
            job = function.make_job(samples=samples)
        _fill(job.model)
        options = {"function": function.target, "operators": operators}
        return _second_step(job, operators=operators, name=name, options=options)


def _fill(model: torch.nn.Module) -> None:
    """Move what begins on the meta device to the CPU, as it will be once it has memory.

    A fake tensor has no memory to move: its device is an attribute.
    """
    for tensor in (*model.parameters(), *model.buffers()):
        if isinstance(tensor, FakeTensor) and tensor.device.type == "meta":
            tensor.fake_device = torch.device("cpu")


def _second_step(job: TrainingJob, *, operators: Operators, name: str, options: dict[str, Any]) -> Trace:
    mend_grouped_products()
    session = CaptureSession(
        job.model, job.optimizer, name=name, samples=job.samples, options=options, alone=True
    )
    with running(operators):
        with Scope(job.model, *optimizers_of(job.optimizer)) as scope, FaultWatch(scope):
            job.step()
        with session:
            job.step()
    return session.trace
