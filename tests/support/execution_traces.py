"""One small step, as torch's observer writes it down and as capture does."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tmtrain.capturing import capture
from tmtrain.trace import Trace

BATCH = 16


@contextmanager
def observed(path: Path) -> Generator[None]:
    """Let torch's observer write what runs inside to `path`."""
    from torch.profiler import ExecutionTraceObserver

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        observer = ExecutionTraceObserver().register_callback(f"{path}")
        observer.start()
        yield
        observer.stop()
        observer.unregister_callback()


def observe_step(path: Path) -> Trace:
    """Write the execution trace of a step to `path`; return what capture sees of the next one."""
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(32, 64), torch.nn.LayerNorm(64), torch.nn.ReLU(), torch.nn.Linear(64, 8)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=False)
    data, labels = torch.randn(BATCH, 32), torch.randint(0, 8, (BATCH,))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(data), labels).backward()
        optimizer.step()

    step()
    with observed(path):
        step()
    with capture(model, optimizer, name="perceptron", samples=BATCH) as captured:
        step()
    return captured.trace
