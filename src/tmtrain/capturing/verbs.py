"""The verbs of capture. Importing them imports no torch; calling them does."""

from typing import TYPE_CHECKING

from tmtrain.capturing.jobs.catalog import find_model, resolve_options
from tmtrain.capturing.jobs.options import Operators, StepOptions
from tmtrain.errors import CaptureError
from tmtrain.trace import Trace

if TYPE_CHECKING:
    import torch

    from tmtrain.capturing.jobs.job import Optimizers
    from tmtrain.capturing.session import CaptureSession


def capture(
    model: "torch.nn.Module",
    optimizer: "Optimizers",
    *,
    name: str | None = None,
    samples: int = 1,
    operators: Operators = "cpu",
) -> "CaptureSession":
    """Record the training step that runs inside the ``with`` block, on real or fake tensors.

    The step must be a steady one, which leaves what was there before it: run one step before, so that the optimizer has
    its state. The block holds one whole step, with ``optimizer.step()`` and ``zero_grad()`` where it trains. All memory
    is counted as one tier, whatever device a tensor is on.

    Args:
        model: Gives parameters, buffers and module paths.
        optimizer: Gives gradients and optimizer state. Several in a list; None for a step that trains nothing.
        name: Of the model in the trace; its class by default.
        samples: In the batch of one step.
        operators: "cpu": those that run; "accelerator": on fake tensors those that an accelerator would run.

    Raises:
        CaptureError: wrong arguments, no optimizer step in the block though there is an optimizer, a step that is not
            steady, an operator that fake tensors cannot run, a tensor without storage, a step of parallel training.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(8, 8)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with capture(model, optimizer, samples=4) as captured:
        ...     model(torch.ones(4, 8)).sum().backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        >>> captured.trace.storages.name[:2]
        ('weight', 'bias')
    """
    from tmtrain.capturing.session import CaptureSession

    label = type(model).__name__ if name is None else name
    return CaptureSession(
        model, optimizer, name=label, samples=samples, options={}, alone=True, operators=operators
    )


def capture_model(name: str, options: StepOptions | None = None) -> Trace:
    """Capture the steady step of a zoo model on fake tensors.

    Args:
        name: One of `tmtrain.capturing.ZOO`.
        options: What differs from the model's default step.

    Raises:
        InputError: unknown model, or an option that it does not have.

    Example:
        >>> capture_model("gpt2-tiny", StepOptions(optimizer="sgd")).samples
        2
    """
    model = find_model(name)
    resolved = resolve_options(model, options or StepOptions())
    from tmtrain.capturing.fake import capture_zoo_model

    return capture_zoo_model(model, resolved)


def capture_function(
    target: str, *, name: str | None = None, samples: int = 1, operators: Operators = "accelerator"
) -> Trace:
    """Capture the steady step that a function of the user's returns, on fake tensors.

    Args:
        target: ``FILE.py:FUNCTION``; the function returns ``(model, optimizer, step)``, with a list for several
            optimizers, or ``(model, step)``. It is called, like the step, where every new tensor is fake (shapes
            without values), and where devices that this computer lacks are the CPU.
        name: Of the model in the trace; `target` by default.
        samples: In the batch of one step.
        operators: Those that PyTorch runs on an accelerator, or on a CPU.

    Raises:
        CaptureError: unknown file or function, another return value, an error in the user's code, or an
            operator that needs the values of a tensor (named, with its module and line), or of parallel training.

    Example:
        >>> import pathlib, tempfile
        >>> code = '''
        ... import torch
        ... def job():
        ...     model = torch.nn.Linear(8, 8)
        ...     optimizer = torch.optim.Adam(model.parameters(), foreach=False)
        ...     def step():
        ...         model(torch.ones(4, 8)).sum().backward()
        ...         optimizer.step()
        ...         optimizer.zero_grad()
        ...     return model, optimizer, step
        ... '''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "mine.py"
        ...     _ = file.write_text(code)
        ...     trace = capture_function(f"{file}:job", samples=4)
        >>> trace.storages.name[2]
        'state:weight.step'
    """
    if samples < 1:
        raise CaptureError(f"samples is {samples}, a step has at least 1")
    from tmtrain.capturing.fake import capture_user_function
    from tmtrain.capturing.jobs.user import find_function

    return capture_user_function(
        find_function(target), name=name or target, samples=samples, operators=operators
    )
