"""The program ``tmtrain``: its commands, and how it ends.

Exit codes: 0 done; 1 an error, told on stderr in one message; 2 a command line that cannot be understood; 130 interrupted
(Ctrl-C); 141 whoever read the output has gone away. Results go to stdout, progress and errors to stderr.

A command's module is imported when the command is called: ``tmtrain doctor`` works where numpy or torch does not.
"""

import io
import os
import sys
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from tmtrain import __version__
from tmtrain.cli.output import stdout_console
from tmtrain.errors import TmtrainError

COMMANDS = {
    "capture": "Capture one training step, on fake tensors, and say what is in it.",
    "plan": "Plan where every page is at every moment of a step, and prove how good the plan is.",
    "explain": "Say why a plan keeps, moves or recomputes a tensor: its gaps, and what each fate would cost.",
    "export": "Write a plan for those who run something else: tables, checkpointing, FSDP2, DeepSpeed, Chakra.",
    "check": "Verify a plan and its proof from the two files alone, without the planner.",
    "simulate": "Simulate one steady step under one policy, or with --steps many disturbed steps of our plan.",
    "train": "Train for real inside a memory budget, the rest on a drive, and lay the run beside its prediction.",
    "flash": "Run what steps write to flash and read from it on the flash device: wear, lifetime, time, energy.",
    "evaluate": "Compare policies over models, machines and capacities; print the table and write the report.",
    "report": "Print the table of an evaluation again and rebuild its page.",
    "machine": "Machines, and the source of each of their numbers.",
    "doctor": "Check that everything tmtrain needs is here, and say what to do about what is not.",
}
"""What each is for, in the order of the road; command NAME is ``tmtrain.cli.commands.NAME:NAME``."""


def make_app() -> App:
    """Build the command line.

    >>> [name for name in make_app() if not name.startswith("-")][:2]
    ['capture', 'plan']
    """
    app = App(
        name="tmtrain",
        help="Plan, prove and simulate training on little fast memory and much flash.",
        version=__version__,
        help_format="markdown",
        suppress_keyboard_interrupt=False,
        result_action="return_int_as_exit_code_else_zero",
    )
    for order, (name, purpose) in enumerate(COMMANDS.items()):
        app.command(f"tmtrain.cli.commands.{name}:{name}", name=name, help=purpose, sort_key=order)
    return app


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program on `argv` (by default the process's own) and return its exit code.

    >>> main(["--version"])
    0.1.0
    0
    """
    try:
        return _run(argv)
    except CycloptsError:  # cyclopts has printed it
        return 2
    except TmtrainError as error:
        return _complain(str(error), code=1)
    except KeyboardInterrupt:
        return _complain("interrupted; what was not finished was not written", code=130)
    except BrokenPipeError:
        _silence_stdout()
        return 141
    except OSError as error:
        _silence_stdout()
        return _complain(f"{error.filename or 'output'}: {error.strerror or error}", code=1)


def _run(argv: Sequence[str] | None) -> int:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without "×" still gets its table
    tokens = sys.argv[1:] if argv is None else argv
    code: int = make_app()(tokens, console=stdout_console(), exit_on_error=False)
    sys.stdout.flush()
    return code


def _complain(message: str, *, code: int) -> int:
    print(f"tmtrain: {message}", file=sys.stderr)
    return code


def _silence_stdout() -> None:
    """Send what cannot be flushed nowhere: Python would try once more at exit, and complain loudly."""
    try:
        sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
