"""A job built and run on fake tensors: shapes without bytes, so a model of any size takes little memory.

The first step creates the optimizer's state and is only watched. Every later one repeats the second, which is
recorded.
"""

import dataclasses
from typing import Any

import torch
import transformers
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from tmtrain.capturing.faults import FaultWatch
from tmtrain.capturing.jobs.catalog import ZooModel
from tmtrain.capturing.jobs.job import TrainingJob
from tmtrain.capturing.jobs.options import Operators, ResolvedOptions
from tmtrain.capturing.jobs.user import UserFunction, user_errors
from tmtrain.capturing.jobs.zoo import build_job
from tmtrain.capturing.operators.choice import running
from tmtrain.capturing.scope import Scope
from tmtrain.capturing.session import CaptureSession
from tmtrain.trace import Trace


def capture_zoo_model(model: ZooModel, options: ResolvedOptions) -> Trace:
    """Capture a model of the catalog with resolved options."""
    described = dataclasses.asdict(options) | {"transformers": transformers.__version__}
    with FakeTensorMode():
        job = build_job(model, options)
        return _second_step(job, operators=options.operators, name=model.name, options=described)


def capture_user_function(function: UserFunction, *, name: str, samples: int, operators: Operators) -> Trace:
    """Capture what the user's function returns.

    Raises:
        CaptureError: their code fails, returns something else, or cannot run on fake tensors.
    """
    # Their batch may come from numpy or a file: such tensors become fake at their first use.
    with user_errors(function), FakeTensorMode(allow_non_fake_inputs=True):
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
    session = CaptureSession(job.model, job.optimizer, name=name, samples=job.samples, options=options)
    with running(operators):
        with Scope(job.model, job.optimizer) as scope, FaultWatch(scope):
            job.step()
        with session:
            job.step()
    return session.trace
