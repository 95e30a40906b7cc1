"""``tmtrain capture``."""

from pathlib import Path

from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import ModelOptions
from tmtrain.cli.summaries.trace import summarise_trace
from tmtrain.evaluation import trace_of
from tmtrain.trace import save_trace


def capture(
    source: str,
    /,
    *,
    out: Path | None = None,
    samples: int | None = None,
    step: int | None = None,
    options: ModelOptions | None = None,
    json: Flag = False,
) -> None:
    """Capture one training step, on fake tensors, and say what is in it.

    Args:
        source: A zoo model (gpt2-xl), your own FILE.py:FUNCTION that returns (model, optimizer, step), a trace folder, or a
            step from outside: a folder of the G10 artifact, a PyTorch (*.json) or Chakra (*.et) execution trace.
        out: Write the trace to this folder, by custom NAME.trace.
        samples: Samples in the batch of your own step.
        step: Which step of an execution trace of several, from 1; by default the last whole one that repeats another.
        options: How the zoo model is trained.
        json: Print JSON.
    """
    with progress() as tell:
        tell(f"{source}: capture")
        trace = trace_of(source, options, samples=samples, step=step)
        if out is not None:
            save_trace(trace, out)
    summary = summarise_trace(trace, out=str(out) if out else None)
    emit(summary, facts(trace.model, summary.lines()), as_json=json)
