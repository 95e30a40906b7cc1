"""The flash device beside MQSim, beside drives, and its closed forms beside itself.

Usage: python benchmarks/flash_accuracy.py > benchmarks/flash_accuracy.md
"""

from collections.abc import Sequence

from tmtrain.validation import Comparison, drives, flash_estimates, mqsim
from tmtrain.validation.mqsim_traces import CASES


def main() -> None:
    """Print three tables."""
    print(
        "Event-driven mode beside MQSim; times are makespans, means, medians and 99th percentiles of every phase.\n"
    )
    print(
        "| case | pages copied | MQSim | write amplification | MQSim | makespan, s | MQSim | worst error of a time |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in CASES:
        _print_case(case)
    print(
        "\nDrives modelled from their dies, beside their makers' figures (`tmtrain/validation/drives.py`).\n"
    )
    _print_rows(drives.compare())
    print("\nClosed forms (model) beside the event-driven mode (reference).\n")
    _print_rows(flash_estimates.compare())


def _print_case(case: str) -> None:
    rows = {row.quantity: row for row in mqsim.compare([case])}
    times = [row for quantity, row in rows.items() if quantity.endswith(", s")]
    copied, amplification = rows["pages copied"], rows["write amplification"]
    last = [row for row in times if "makespan" in row.quantity][-1]
    worst = max(times, key=lambda row: abs(row.error))
    print(
        f"| {case} | {copied.model:.0f} | {copied.reference:.0f} "
        f"| {amplification.model:.5f} | {amplification.reference:.5f} "
        f"| {last.model:.6f} | {last.reference:.6f} | {worst.error:+.4%} |"
    )


def _print_rows(rows: Sequence[Comparison]) -> None:
    print("| case | quantity | model | reference | error | within tolerance |\n|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.case} | {row.quantity} | {row.model:.4g} | {row.reference:.4g} | {row.error:+.2%} "
            f"| {'yes' if row.holds else 'no'} |"
        )


if __name__ == "__main__":
    main()
