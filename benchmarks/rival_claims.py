"""Whether the rivals stand to each other as their papers say: each claim over all settings of an evaluation.

    tmtrain evaluate --suite rivals --out out/rivals
    python benchmarks/rival_claims.py out/rivals/results.json [--out FILE]

A claim compares two policies in one measure, setting by setting; where one of them has no row, the setting does not count.
What is checked is the direction, and a factor only where the paper's own is far from 1. Where a claim does not hold
everywhere, docs/rivals.md says why.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from typing import Literal

from tmtrain.evaluation import Row
from tmtrain.reporting.results import read_results

Measure = Literal["step_time_s", "traffic_bytes", "bytes_out", "energy_j"]
_WORDS = {
    "step_time_s": "time",
    "traffic_bytes": "bytes moved",
    "bytes_out": "bytes written",
    "energy_j": "joules",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`measure` of `less` is below `at_most` times that of `more`."""

    less: str
    more: str
    measure: Measure = "step_time_s"
    at_most: float = 1.0
    source: str
    """What the paper says."""


CLAIMS = (
    Claim(less="g10", more="flashneuron", source="G10: 1.56 times as fast"),
    Claim(less="g10", more="deepum", source="G10: 1.31 times as fast (DeepUM+)"),
    Claim(less="deepum", more="flashneuron", source="G10: follows from the two, on average"),
    Claim(less="g10", more="paging", at_most=0.5, source="G10: far ahead of Base UVM; half the time or less"),
    Claim(less="g10", more="flashneuron", measure="bytes_out", source="G10: 2.20 times fewer writes"),
    Claim(less="g10", more="deepum", measure="bytes_out", source="G10: 1.37 times fewer writes"),
    Claim(
        less="deepum",
        more="paging",
        at_most=0.5,
        source="DeepUM: 3.06 times as fast as UVM; half the time or less",
    ),
    Claim(
        less="deepum",
        more="paging",
        measure="energy_j",
        at_most=0.5,
        source="DeepUM: -65 % energy; half or less",
    ),
    Claim(less="vdnn-dyn", more="vdnn-all", source="vDNN: dyn is at least as fast as all"),
    Claim(less="sentinel", more="ial", source="Sentinel: +37 %"),
    Claim(less="sentinel", more="autotm-async", source="Sentinel: +17 %"),
    Claim(less="sentinel", more="vdnn-dyn", source="Sentinel: 2 times as fast"),
    Claim(less="sentinel", more="swapadvisor", source="Sentinel: +65 %"),
    Claim(less="sentinel", more="capuchin", source="Sentinel: +16 %"),
    Claim(less="ial", more="sentinel", measure="traffic_bytes", source="Sentinel: moves 85 % more than IAL"),
    Claim(
        less="autotm-async",
        more="sentinel",
        measure="traffic_bytes",
        source="Sentinel: moves 32 % more than AutoTM",
    ),
    Claim(less="autotm-async", more="autotm-sync", source="AutoTM: asynchronous moves are no slower"),
    Claim(less="capuchin", more="vdnn-dyn", source="Capuchin: up to 286 % faster than vDNN"),
    Claim(less="swapadvisor", more="lru", source="SwapAdvisor: ahead of swapping on demand by LRU"),
    Claim(
        less="poet",
        more="capuchin",
        measure="energy_j",
        source="POET: fewer joules than a heuristic like Capuchin's",
    ),
)


def main() -> None:
    """Read the arguments, check, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path, help="results.json of an evaluation")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    text = "\n".join(_lines(read_results(arguments.results).rows)) + "\n"
    print(text, end="")
    arguments.out.write_text(text, encoding="utf-8")


def _lines(rows: list[Row]) -> Iterator[str]:
    settings = _settings(rows)
    models, machines = sorted({s[0] for s in settings}), sorted({s[1] for s in settings})
    yield f"{len(settings)} settings: {', '.join(models)} on {', '.join(machines)}."
    yield ""
    yield "| claim | the paper | holds | ratio (geometric mean) | where not |"
    yield "|---|---|---|---|---|"
    for claim in CLAIMS:
        yield _line(claim, settings)


def _settings(rows: list[Row]) -> dict[tuple[str, str, str], dict[str, Row]]:
    """Group rows by model, machine and share of fast memory."""
    settings: dict[tuple[str, str, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        share = f"{100 * row.budget_bytes / row.footprint_bytes:.3g} %"
        settings[row.model, row.machine, share][row.policy] = row
    return settings


def _line(claim: Claim, settings: dict[tuple[str, str, str], dict[str, Row]]) -> str:
    ratios = {
        setting: getattr(rows[claim.less], claim.measure) / getattr(rows[claim.more], claim.measure)
        for setting, rows in settings.items()
        if claim.less in rows and claim.more in rows and getattr(rows[claim.more], claim.measure)
    }
    fails = [" ".join(setting) for setting, ratio in ratios.items() if ratio > claim.at_most * (1 + 1e-9)]
    mean = exp(sum(log(ratio) for ratio in ratios.values() if ratio) / max(1, len(ratios)))
    factor = "" if claim.at_most == 1 else f" x {claim.at_most:g}"
    return (
        f"| {_WORDS[claim.measure]}: {claim.less} <= {claim.more}{factor} | {claim.source} "
        f"| {len(ratios) - len(fails)} of {len(ratios)} | {mean:.2f} | {_some(fails)} |"
    )


def _some(fails: list[str], most: int = 4) -> str:
    more = f" and {len(fails) - most} more" if len(fails) > most else ""
    return "; ".join(fails[:most]) + more


if __name__ == "__main__":
    main()
