"""Figure "sensitivity": does the ranking hold when an uncertain constant is not what we think?"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tmtrain.evaluation.sensitivity import Case
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.quantity import quantity
from tmtrain.reporting.section import OURS

_COLUMNS = 3
_LOG_FROM = 5.0
"""A range wider than this factor gets a logarithmic axis."""


def sensitivity_figure(cases: list[Case], *, key: str, colours: dict[str, str]) -> str:
    """Draw samples per joule of each policy against each uncertain constant over its range, as SVG.

    Args:
        cases: of one model, machine and capacity; at least one.
        key: of the section, makes the ids unique.
        colours: of each policy.

    >>> from tmtrain.reporting.example import example_sensitivity
    >>> cases = [case for case in example_sensitivity().cases if case.model == "made-up-small"]
    >>> sensitivity_figure(cases, key="doc", colours={case.policy: "k" for case in cases}).count("nominal")
    1
    """
    name = f"sensitivity-{key}"
    constants = list(dict.fromkeys(case.constant for case in cases))
    columns = min(_COLUMNS, len(constants))
    rows = -(-len(constants) // columns)
    with drawing(name):
        width = PAGE_INCHES * (columns / _COLUMNS if columns > 1 else 0.5)
        figure = Figure(figsize=(width, 0.45 + 2.5 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, constant in zip(panels, constants, strict=False):
            _panel(axes, [case for case in cases if case.constant == constant], colours=colours)
        for axes in panels[len(constants) :]:
            axes.set_visible(False)
        for axes in panels[::columns]:
            axes.set_ylabel("samples per joule")
        legend_below(figure, panels[0], columns=3 * columns, reverse=True)
        return to_svg(figure, name=name)


def _panel(axes: Axes, cases: list[Case], *, colours: dict[str, str]) -> None:
    first = cases[0]
    for policy in sorted(colours, key=lambda name: name == OURS):  # ours on top of the others
        points = sorted((case.value, case.samples_per_j) for case in cases if case.policy == policy)
        if points:
            axes.plot(
                *zip(*points, strict=True), color=colours[policy], lw=1.5, marker="o", ms=3, label=policy
            )
    if first.low > 0 and first.high / first.low > _LOG_FROM:
        axes.set_xscale("log")
    axes.set_xticks([first.low, first.high], [quantity(end, _unit(first)) for end in (first.low, first.high)])
    axes.set_xticks([], minor=True)
    for label, side in zip(axes.get_xticklabels(), ("left", "right"), strict=True):
        label.set_horizontalalignment(side)
    axes.axvline(first.nominal, color="#333333", lw=0.9, ls=(0, (4, 2)))
    nominal = f"nominal {quantity(first.nominal, _unit(first))}"
    axes.annotate(
        nominal,
        (first.nominal, 0.0),
        (3, 4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        fontsize=8,
        color="#333333",
    )
    axes.set_title(first.constant)
    axes.set_ylim(0, 1.08 * max(case.samples_per_j for case in cases))
    axes.grid(axis="y")


def _unit(case: Case) -> str:
    return "" if case.unit == "1" else case.unit
