"""Real steps, captured once per test session."""

from functools import cache

from tmtrain.capturing import StepOptions, capture, capture_model
from tmtrain.trace import Trace

TINY = ("gpt2-tiny", "gpt2-tiny eager fp32", "bert", "resnet", "foreach", "fused")
"""Names of `tiny_trace`."""


@cache
def tiny_trace(name: str) -> Trace:
    """Capture a small step that has what its name says; takes about a second each."""
    match name:
        case "gpt2-tiny":
            return capture_model("gpt2-tiny")
        case "gpt2-tiny eager fp32":
            return capture_model(
                "gpt2-tiny", StepOptions(attention="eager", precision="fp32", optimizer="sgd")
            )
        case "bert":
            return capture_model("bert-large", StepOptions(batch=1, sequence=16, optimizer="sgd"))
        case "resnet":
            return capture_model("resnet-152", StepOptions(batch=2, optimizer="sgd"))
        case "foreach":
            return _perceptron(foreach=True, fused=False)
        case "fused":
            return _perceptron(foreach=False, fused=True)
        case _:
            raise AssertionError(name)


def _perceptron(*, foreach: bool, fused: bool) -> Trace:
    import torch

    model = torch.nn.Sequential(
        torch.nn.Linear(48, 96), torch.nn.BatchNorm1d(96), torch.nn.ReLU(), torch.nn.Linear(96, 7)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=foreach, fused=fused)
    data, labels = torch.randn(32, 48), torch.randint(0, 7, (32,))

    def step() -> None:
        torch.nn.functional.cross_entropy(model(data), labels).backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with capture(model, optimizer, name="perceptron", samples=32) as captured:
        step()
    return captured.trace
