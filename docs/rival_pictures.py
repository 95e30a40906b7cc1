"""Draw the pictures of docs/rivals.md: what each policy holds in fast memory over a step, and what it moves.

Usage: .venv/bin/python docs/rival_pictures.py [MODEL] [--fast SHARE] [--machine MACHINE]
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tmtrain.bundle import write_text_atomically
from tmtrain.errors import PolicyError
from tmtrain.evaluation import make_setting, trace_of
from tmtrain.evaluation.compare import try_in
from tmtrain.machine import Machine, load_machine
from tmtrain.policies import POLICIES
from tmtrain.reporting.figures.palette import IN_FLIGHT_COLOUR, READ_COLOUR, ROLE_COLOURS, WRITE_COLOUR
from tmtrain.reporting.figures.phases import mark_phases
from tmtrain.reporting.figures.sampling import mean_rate
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, to_svg
from tmtrain.reporting.quantity import quantity
from tmtrain.simulation import Result
from tmtrain.trace.trace import Role
from tmtrain.units import parse_fast

NAME = "rival-memory"
COLUMNS = 4
BINS = 80
"""Of each panel: the width of a step is the same for all, whatever it takes."""


def main() -> None:
    """Read the arguments, simulate every policy, and write ``rival-memory.svg`` beside this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", nargs="?", default="resnet-152")
    parser.add_argument("--fast", default="25%")
    parser.add_argument("--machine", default="v4-slc")
    arguments = parser.parse_args()
    machine = load_machine(arguments.machine)
    results = _simulate(arguments.model, fast=arguments.fast, machine=machine)
    write_text_atomically(Path(__file__).parent / f"{NAME}.svg", _draw(results, machine=machine))


def _simulate(model: str, *, fast: str, machine: Machine) -> list[Result]:
    """Return the result of every policy that has one."""
    setting = make_setting(
        trace_of(model), machine=machine, fast=parse_fast(fast), objective="energy", bounded=()
    )
    results: list[Result] = []
    for policy in POLICIES:
        try:
            results.append(try_in(setting, policy).result)
        except PolicyError as error:
            print(f"{policy}: {error}")
    return results


def _draw(results: list[Result], *, machine: Machine) -> str:
    rows = -(-len(results) // COLUMNS)
    roles = [role for role in ROLE_COLOURS if any(r.series.resident_bytes[:, role].any() for r in results)]
    with drawing(NAME):
        figure = Figure(figsize=(PAGE_INCHES, 0.6 + 1.55 * rows))
        # Panels in pairs: what is held above, what moves below.
        grid = figure.add_gridspec(
            rows, COLUMNS, left=0.01, right=0.99, top=0.975, bottom=0.055, hspace=0.3, wspace=0.05
        )
        for number, result in enumerate(results):
            pair = grid[number].subgridspec(2, 1, height_ratios=(3, 1), hspace=0.04)
            _memory(figure.add_subplot(pair[0]), result, roles=roles)
            _transfers(figure.add_subplot(pair[1]), result, machine=machine)
        _legend(figure, roles)
        return to_svg(figure, name=NAME)


def _edges(result: Result) -> np.ndarray:
    return np.linspace(0.0, result.step_time_s, BINS + 1)


def _memory(axes: Axes, result: Result, *, roles: list[Role]) -> None:
    """Stack the bytes of each role, averaged over each bin, with what is reserved for bytes under way on top."""
    series, edges = result.series, _edges(result)
    # What the first slice finds was there while it waited.
    start = np.concatenate([[0.0], series.start_s[1:]])
    end = np.concatenate([series.start_s[1:], [result.step_time_s]])
    columns = np.column_stack([series.resident_bytes[:, roles], series.in_flight_bytes])
    top = np.cumsum(
        [mean_rate(start, end=end, amount=column * (end - start), edges=edges) for column in columns.T],
        axis=0,
    )
    axes.stairs(top[-1], edges, fill=True, fc="w", ec=IN_FLIGHT_COLOUR, hatch="//////", lw=0)
    for role, height in reversed(list(zip(roles, top[:-1], strict=True))):
        axes.stairs(height, edges, fill=True, color=ROLE_COLOURS[role], lw=0)
    mark_phases(axes, result, labelled=False)
    axes.axhline(result.fast_bytes, color="k", lw=0.8, ls=(0, (4, 2)))
    axes.set_ylim(0, 1.05 * result.fast_bytes)
    moved = quantity(result.traffic_bytes, "B")
    axes.set_title(f"{result.policy}", pad=3, fontsize=9)
    axes.annotate(
        f"{quantity(result.step_time_s, 's')}, {moved}",
        (1, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="#444444",
    )
    _bare(axes, result)


def _transfers(axes: Axes, result: Result, *, machine: Machine) -> None:
    """Draw reads upwards and writes downwards, as shares of what each direction carries alone."""
    traffic, edges = result.traffic, _edges(result)
    for is_write, colour, rate in (
        (False, READ_COLOUR, machine.read_bytes_per_s),
        (True, WRITE_COLOUR, -machine.write_bytes_per_s),
    ):
        rows = traffic.is_write == is_write
        flow = mean_rate(
            traffic.start_s[rows],
            end=traffic.end_s[rows],
            amount=traffic.bytes[rows].astype(float),
            edges=edges,
        )
        axes.stairs(flow / rate, edges, fill=True, color=colour, lw=0)
    axes.axhline(0, color="#888888", lw=0.5)
    axes.set_ylim(-1.05, 1.05)
    _bare(axes, result)


def _bare(axes: Axes, result: Result) -> None:
    axes.set_xlim(0, result.step_time_s)
    axes.set_xticks([])
    axes.set_yticks([])


def _legend(figure: Figure, roles: list[Role]) -> None:
    handles = [Patch(color=ROLE_COLOURS[role], label=role.name.lower().replace("_", " ")) for role in roles]
    handles += [
        Patch(fc="w", ec=IN_FLIGHT_COLOUR, hatch="//////", lw=0, label="reserved for bytes under way"),
        Patch(color=READ_COLOUR, label="reads"),
        Patch(color=WRITE_COLOUR, label="writes"),
    ]
    figure.legend(handles=handles, loc="lower left", ncols=5, handlelength=1.2, columnspacing=1.4)


if __name__ == "__main__":
    main()
