"""``report.html``: the whole evaluation as one file that needs nothing from elsewhere."""

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tmtrain import __version__
from tmtrain.bundle import write_text_atomically
from tmtrain.errors import InputError
from tmtrain.evaluation.fate_record import FateRecord, load_fates
from tmtrain.evaluation.monitored import MonitoredRun
from tmtrain.evaluation.row import Results, Row, WallClock
from tmtrain.evaluation.sensitivity import Case
from tmtrain.machine import Constant, describe_machine, list_machines
from tmtrain.plans import CLASS
from tmtrain.reporting.costs import COST_COLUMNS, CostLine, cost_lines
from tmtrain.reporting.figures.components import shown_components
from tmtrain.reporting.figures.memory import memory_figure
from tmtrain.reporting.figures.monitor import monitor_figure
from tmtrain.reporting.figures.overlap import overlap_figure
from tmtrain.reporting.figures.palette import policy_colours
from tmtrain.reporting.figures.power import power_figure
from tmtrain.reporting.figures.prices import prices_figure
from tmtrain.reporting.figures.rivals import rivals_figure
from tmtrain.reporting.figures.sensitivity import sensitivity_figure
from tmtrain.reporting.figures.tornado import tornado_figure
from tmtrain.reporting.headline import headline_columns, headline_title, headlines
from tmtrain.reporting.monitored import disturbances_in_words, monitor_verdict
from tmtrain.reporting.quantity import quantity
from tmtrain.reporting.results import (
    MONITOR,
    RESULTS,
    SENSITIVITY,
    read_monitor,
    read_results,
    read_sensitivity,
)
from tmtrain.reporting.section import ALL_FAST, PAGING, Section, sections_of, setting_of
from tmtrain.reporting.summary import PAPER_HEADLINE, head_lines, overview, sentences
from tmtrain.reporting.table import COLUMNS, TableLine, refusal_lines, section_title, table_lines
from tmtrain.reporting.tornado import flips, swings
from tmtrain.simulation.file import load_result
from tmtrain.simulation.result import Result
from tmtrain.units import format_bytes

PAGE = "report.html"

_CAPTIONS = {
    "rivals": (
        "What one steady step costs. Bars start at zero and shorter is better, except for samples per "
        "joule; a bar that dwarfs all others is cut and says so. The dashed line is the certified lower "
        f"bound (for samples per joule: an upper bound): no {CLASS}, with this fast memory, can be on its "
        "other side. Each panel has its own bound, and one plan need not reach all of them. all-fast "
        "has fast memory for the whole footprint and is not bound."
    ),
    "memory": (
        "What is in fast memory while the step runs, stacked by role; hatched is reserved for pages on "
        "their way in. The background marks the phase. Each panel has its own time axis; all-fast, "
        "where shown, also its own scale of bytes: it is what the step would need."
    ),
    "overlap": (
        "Is the link busy while the chip computes? Above, the share of time that the chip computes or "
        "waits for a transfer; below, bytes per second read from flash (upwards) and written to it "
        "(downwards), averaged over 1/400 of the step. Good plans write during forward, read ahead "
        "during backward, and show little red."
    ),
    "power": (
        "How many watts the step draws, stacked by component and averaged over 1/400 of the step; the dashed "
        "line is the average. “At most” is the most demanding moment, a slice and the transfers beside it, "
        "before averaging. The panels share their scale."
    ),
    "prices": (
        "What fast memory is worth. Above, what one more GiB during a moment of the step would save (the "
        "multipliers that prove the lower bound): zero where there is room, high where everything waits at "
        "once; the dashed line adds it up, so that its rise over a gap is what keeping a GiB costs. Below, "
        "what tmtrain's plan does with contents that wait for their next use: kept in fast "
        "memory, moved to flash and back, or dropped and recomputed. `tmtrain explain` says the same for "
        "one tensor."
    ),
    "monitor": (
        "What each step waits, many steps on end, where operators jitter and disturbances come and go. The static plan "
        "stays as it is; the timing monitor changes it by what it has measured; perfect knowledge, where shown, is "
        "planned for the true durations and rates. The first step, which begins with fast memory empty, is left out. "
    ),
    "sensitivity": (
        "Samples per joule if one uncertain constant is elsewhere in the range that its sources "
        "support, all else nominal; tmtrain plans anew where time changes (flash bandwidth). Each panel has its own scale, "
        "from zero. Where lines do not cross, the ranking does not depend on that constant."
    ),
    "tornado": (
        "The same study in one number: how far ahead tmtrain is of the rival that is best at that value, with "
        "each constant moved alone through its range, the one that matters most on top."
    ),
}
MOST_GROUPS = 20
"""Lines of the table of fates."""
_FRACTION_TOLERANCE = 0.005
"""Capacities are whole pages: the fraction asked for and the one measured differ a little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PageFigure:
    name: str
    svg: Markup
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PageSection:
    key: str
    title: str
    tab: str
    sentences: tuple[str, ...]
    lines: tuple[TableLine, ...]
    figures: tuple[_PageFigure, ...]
    costs: tuple[CostLine, ...]
    fates: tuple[tuple[str, ...], ...]
    """Role, module, and bytes kept, moved and recomputed by our plan; empty if it is not there."""
    missing: str
    """Which policies the figures over time leave out, and why; empty if none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Studies:
    """What stands beside the results; empty where nobody asked for it."""

    cases: list[Case]
    monitored: list[MonitoredRun]

    def of(self, section: Section) -> "_Studies":
        """Return what concerns `section`."""
        return _Studies(
            cases=[case for case in self.cases if _concerns(case, section)],
            monitored=[run for run in self.monitored if _is_of(run, section)],
        )


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the ``results.json`` (and what is beside it) in `folder`; return its path.

    Raises:
        InputError: no ``results.json`` or run folder that it names, no rows, or the disk refuses.
        FileFormatError: a file there is truncated, edited, or of a newer version.

    >>> import tempfile
    >>> from tmtrain.reporting.example import write_example
    >>> write_report(write_example(Path(tempfile.mkdtemp()))).name
    'report.html'
    """
    results = read_results(folder / RESULTS)
    if not results.rows:
        raise InputError(f"{folder / RESULTS} has no rows: evaluate at least one model and policy")
    sensitivity = read_sensitivity(folder / SENSITIVITY) if (folder / SENSITIVITY).exists() else None
    monitored = read_monitor(folder / MONITOR) if (folder / MONITOR).exists() else None
    studies = _Studies(
        cases=sensitivity.cases if sensitivity is not None else [],
        monitored=monitored.runs if monitored is not None else [],
    )
    text = _render(folder, results, studies)
    write_text_atomically(folder / PAGE, text)
    return folder / PAGE


def _render(folder: Path, results: Results, studies: _Studies) -> str:
    # Strict: a name that a template gets wrong is an error here, not a gap in the page. Escaped: a model may be called
    # anything; figures are `Markup`, which `to_svg` has escaped.
    environment = Environment(
        loader=PackageLoader("tmtrain.reporting", "template"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = sections_of(results)
    # Over all sections, so that a policy has one colour on the whole page.
    colours = policy_colours(row.policy for row in results.rows)
    return environment.get_template("page.html.j2").render(
        version=__version__,
        class_of_bounds=CLASS,
        digest=hashlib.sha256((folder / RESULTS).read_bytes()).hexdigest()[:12],
        columns=COLUMNS,
        cost_columns=COST_COLUMNS,
        life_years=f"{next(iter(results.rows[0].costs.values())).life_years:g}",
        sections=[
            _page_section(section, folder=folder, studies=studies.of(section), colours=colours)
            for section in sections
        ],
        head_lines=head_lines(sections),
        has_paging=any(section.rival(PAGING) is not None for section in sections),
        overview=overview(sections),
        headlines=[
            (headline_title(headline), headline_columns(headline), headline.lines)
            for headline in headlines(results)
        ],
        refusals=refusal_lines(results),
        paper=PAPER_HEADLINE,
        machines=_machines(results),
        wall_clocks=_wall_clocks(sections),
    )


def _page_section(
    section: Section, *, folder: Path, studies: _Studies, colours: dict[str, str]
) -> _PageSection:
    runs = {row.policy: load_result(folder / row.run) for row in section.ordered if row.run is not None}
    unkept = [row.policy for row in section.ordered if row.run is None]
    row, fates = section.first, _fates(section, folder)
    return _PageSection(
        key=section.key,
        title=section_title(section),
        tab=f"{row.model} · {row.machine} · {100 * row.fast_fraction:.3g} %",
        sentences=tuple(_unbroken(sentence) for sentence in sentences(section)),
        lines=table_lines(section),
        figures=_figures(section, runs=runs, studies=studies, colours=colours, fates=fates),
        costs=cost_lines(section),
        fates=_fate_lines(fates),
        missing=f"No per-slice series were kept for: {', '.join(unkept)}." if unkept else "",
    )


def _figures(
    section: Section,
    *,
    runs: dict[str, Result],
    studies: _Studies,
    colours: dict[str, str],
    fates: FateRecord | None,
) -> tuple[_PageFigure, ...]:
    svgs = {"rivals": rivals_figure(section, colours=colours)}
    # The rest as far as its data were kept: series of runs are large, fates come from our plan, cases from a study.
    if runs:
        svgs["memory"] = memory_figure(list(runs.values()), key=section.key)
    # Two at most: these panels are tall, and the rest of the policies are in the figures above.
    opponents = [runs[row.policy] for row in _opponents(section) if row.policy in runs]
    if opponents:
        svgs["overlap"] = overlap_figure(opponents, key=section.key)
        svgs["power"] = power_figure(opponents, components=shown_components(section.ordered), key=section.key)
    if fates is not None:
        svgs["prices"] = prices_figure(fates, key=section.key)
    if studies.monitored:
        svgs["monitor"] = monitor_figure(studies.monitored, key=section.key)
    if studies.cases:
        svgs["sensitivity"] = sensitivity_figure(studies.cases, key=section.key, colours=colours)
    ranked = swings(studies.cases)
    if ranked:
        svgs["tornado"] = tornado_figure(ranked, key=section.key)
    said = {"tornado": " ".join(("", *flips(ranked))), "monitor": _monitor_words(studies.monitored)}
    return tuple(
        _PageFigure(name=name, svg=Markup(svg), caption=_CAPTIONS[name] + _unbroken(said.get(name, "")))
        for name, svg in svgs.items()
    )


def _monitor_words(monitored: list[MonitoredRun]) -> str:
    """Say of each panel what disturbed the steps, and what the monitor was worth."""
    return " ".join(f"Here: {disturbances_in_words(run)}. {monitor_verdict(run)}" for run in monitored)


def _fates(section: Section, folder: Path) -> FateRecord | None:
    """Read what our plan does with each kind of content, if it was kept."""
    run = section.ours.run if section.ours is not None else None
    path = folder / f"{run}.fates"
    return load_fates(path) if run is not None and path.exists() else None


def _fate_lines(record: FateRecord | None) -> tuple[tuple[str, ...], ...]:
    """Return the largest groups, and the rest as one."""
    if record is None:
        return ()
    lines = [
        (g.role, g.module or "(root)", g.kept_bytes, g.moved_bytes, g.recomputed_bytes) for g in record.groups
    ]
    rest = lines[MOST_GROUPS:]
    if rest:
        sums = [sum(column) for column in zip(*(line[2:] for line in rest), strict=True)]
        lines = [*lines[:MOST_GROUPS], ("other", f"{len(rest)} more", sums[0], sums[1], sums[2])]
    return tuple(
        (role, module, *(format_bytes(n) if n else "–" for n in (kept, moved, recomputed)))
        for role, module, kept, moved, recomputed in lines
    )


def _opponents(section: Section) -> tuple[Row, ...]:
    """Ours and the rival that comes closest by the objective."""
    return tuple(row for row in (section.ours, section.best_rival()) if row is not None)


def _concerns(case: Case, section: Section) -> bool:
    row = section.first
    # A case knows the fraction that was asked for, a row the one of whole pages.
    near = math.isclose(case.fast_fraction, row.fast_fraction, abs_tol=_FRACTION_TOLERANCE)
    return (case.model, case.machine) == (row.model, row.machine) and near


def _is_of(run: MonitoredRun, section: Section) -> bool:
    return (run.model, run.batch, run.machine, run.objective, run.budget_bytes) == setting_of(section.first)


def _unbroken(sentence: str) -> str:
    """Keep numbers and their units on one line: a space between a digit and at most three letters does not break."""
    return re.sub(r"(?<=\d) (?=\S{1,3}(?:\W|$))", "\N{NO-BREAK SPACE}", sentence)


def _machines(results: Results) -> dict[str, tuple[Constant, ...]]:
    """Return the constants of each machine used; none for a machine that is not a preset of this release."""
    presets = list_machines()
    names = dict.fromkeys(row.machine for row in results.rows)
    return {name: describe_machine(name) if name in presets else () for name in names}


def _wall_clocks(sections: tuple[Section, ...]) -> list[tuple[str, ...]]:
    """Return model, policy and the time of each stage, for all that used both tiers."""
    rows = [row for section in sections for row in section.ordered if row.policy != ALL_FAST]
    return [(row.model, row.policy, *_times(row.wall_clock)) for row in rows]


def _times(clock: WallClock) -> list[str]:
    stages = (clock.capture_s, clock.lower_s, clock.plan_s, clock.simulate_s)
    return [quantity(seconds, "s") for seconds in stages]
