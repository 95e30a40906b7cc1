"""A rank of a parallel training is not captured: said in words, by operator and line."""

from collections.abc import Callable, Generator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import _functional_collectives
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, distribute_tensor

from tmtrain.capturing import capture
from tmtrain.capturing.fake import capture_user_function
from tmtrain.capturing.jobs.user import UserFunction
from tmtrain.errors import CaptureError

Job = tuple[nn.Module, torch.optim.Optimizer, Callable[[], None]]


@pytest.fixture(autouse=True)
def one_rank() -> Generator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def training(model: nn.Module, finish: Callable[[torch.Tensor], torch.Tensor] = lambda loss: loss) -> Job:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> None:
        finish(model(torch.ones(4, 8)).sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def classic() -> Job:
    def reduce(loss: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(loss.detach())
        return loss

    return training(nn.Linear(8, 8), reduce)


def functional() -> Job:
    group = dist.group.WORLD
    assert group is not None
    return training(nn.Linear(8, 8), lambda loss: _functional_collectives.all_reduce(loss, "sum", group))


def gathered() -> Job:
    dist.all_gather([torch.ones(2)], torch.ones(2))
    return training(nn.Linear(8, 8))


def distributed() -> Job:
    mesh = init_device_mesh("cpu", (1,))
    model = nn.Linear(8, 8)
    model.weight = nn.Parameter(distribute_tensor(model.weight.data, mesh, [Replicate()]))
    return training(model)


def sharded() -> Job:
    return training(fully_shard(nn.Linear(8, 8), mesh=init_device_mesh("cpu", (1,))))


def replicated() -> Job:
    return training(nn.parallel.DistributedDataParallel(nn.Linear(8, 8)))


@pytest.mark.parametrize(
    ("job", "message"),
    [
        (classic, r"operator c10d\.allreduce_\.default in loss, at .*refused\.py:\d+ in reduce"),
        (functional, r"operator _c10d_functional\.all_reduce\.default in loss"),
        (
            gathered,
            r"operator c10d\.allgather_\.default in the code that builds the model, at .* in gathered",
        ),
        (distributed, r"in distributed"),
        (sharded, r"in sharded"),
        (replicated, r"mine\.py:job failed .*in replicated: `.*DistributedDataParallel"),
    ],
)
def test_steps_of_parallel_training_are_refused_in_words(job: Callable[[], Job], message: str) -> None:
    with pytest.raises(
        CaptureError, match=rf"(?s){message}.*parallel training are not captured yet.*one rank"
    ):
        capture_user_function(UserFunction(target="mine.py:job", call=job), name="mine", samples=1)


def test_a_real_step_is_refused_too() -> None:
    model, optimizer, step = replicated()
    step()
    with pytest.raises(CaptureError, match=r"operator c10d\..*not captured yet"), capture(model, optimizer):
        step()


def test_a_model_of_dtensors_is_refused_before_its_step() -> None:
    model, optimizer, _ = distributed()
    with pytest.raises(CaptureError, match="'weight' is a DTensor; steps of parallel training"):
        capture(model, optimizer)
