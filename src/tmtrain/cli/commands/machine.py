"""``tmtrain machine``: what there is to simulate on, and where its numbers come from."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter
from rich import box
from rich.table import Table
from rich.text import Text

from tmtrain.bundle import write_text_atomically
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.summaries.validation import record_of, table_of, verdict
from tmtrain.machine import Constant, describe_machine, list_machines, load_machine
from tmtrain.reporting.quantity import quantity
from tmtrain.validation import validate as validate_models

if TYPE_CHECKING:
    from tmtrain.runtime.host.measure import HostRates

machine = App(name="machine", help="Machines, and the source of each of their numbers.")


@machine.command(name="list")
def list_(*, json: Flag = False) -> None:
    """List the presets, the default first.

    Args:
        json: Print JSON.
    """
    record = [{"name": name, "description": load_machine(name).description} for name in list_machines()]
    lines = [(entry["name"], entry["description"]) for entry in record]
    emit(record, facts("machines", lines), as_json=json)


@machine.command
def show(name_or_file: str, /, *, json: Flag = False) -> None:
    """Show every number of a machine with its range, source and date.

    Args:
        name_or_file: A preset or a TOML file.
        json: Print JSON.
    """
    loaded = load_machine(name_or_file)
    constants = describe_machine(name_or_file)
    record = {"name": loaded.name, "description": loaded.description, "constants": constants}
    emit(record, f"{loaded.name}: {loaded.description}", _table(constants), as_json=json)


@machine.command
def measure(
    folders: Annotated[tuple[Path, ...], Parameter(show_default=False)], /, *, out: Path, json: Flag = False
) -> None:
    """Measure this host and the drives behind folders, and write them as a machine file; other programs should rest.

    Args:
        folders: Where the flash of a real run would be; several are measured together.
        out: The file to write, NAME.toml.
        json: Print JSON.
    """
    from tmtrain.runtime.host.measure import machine_text, measure_host  # imports torch

    with progress() as tell:
        tell(f"{', '.join(map(str, folders))}: measure the drive, and this host beside it")
        rates = measure_host(folders)
    write_text_atomically(out, machine_text(rates))
    emit(rates, facts("this host", _rate_lines(rates, out)), as_json=json)


@machine.command
def validate(*, json: Flag = False) -> int:
    """Compare the models of the parts with simulators and published measurements; exit code 1 if a claim does not hold.

    Args:
        json: Print JSON.
    """
    rows = validate_models()
    emit([record_of(row) for row in rows], table_of(rows), verdict(rows), as_json=json)
    return int(any(row.is_claimed and not row.holds for row in rows))


def _rate_lines(rates: "HostRates", out: Path) -> Iterator[tuple[str, str]]:
    drive = rates.drive
    yield "drive reads", quantity(drive.read_bytes_per_s, "B/s")
    yield "drive writes", quantity(drive.write_bytes_per_s, "B/s")
    yield "both together", quantity(drive.shared_bytes_per_s, "B/s")
    yield "matrix products", f"{quantity(rates.matrix_flops_per_s, 'flop/s')} fp32, {rates.threads} threads"
    yield "memory", quantity(rates.memory_bytes_per_s, "B/s")
    yield "written", f"{out} (tmtrain machine show {out})"


def _table(constants: tuple[Constant, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("constant", no_wrap=True)
    table.add_column("value", no_wrap=True, justify="right")
    table.add_column("range", no_wrap=True)
    table.add_column("source", overflow="fold")
    table.add_column("date", no_wrap=True)
    for c in constants:
        cells = (c.path, f"{c.value:g} {c.unit}".rstrip(), _range(c), c.source, c.date)
        table.add_row(*(Text(cell) for cell in cells))
    return table


def _range(constant: Constant) -> str:
    if constant.low is None or constant.high is None:
        return ""
    return " to ".join(dict.fromkeys((f"{constant.low:g}", f"{constant.high:g}")))
