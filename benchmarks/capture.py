"""Captures every model of the zoo, each in a process of its own, and writes benchmarks/capture.md.

python benchmarks/capture.py [NAME ...]
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

MOST_S, MOST_GIB = 60.0, 1.5
"""What a capture may take: seconds of CPU, and memory above that of a process that has imported all it needs."""
_ONE = """
import json, resource, sys, time
import transformers, torch
from tmtrain.capturing import capture_model
from tmtrain.cli.summaries.trace import summarise_trace
capture_model("gpt2-tiny")
before_s, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trace = capture_model(sys.argv[1])
seconds = time.process_time() - before_s
kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
summary = summarise_trace(trace)
print(json.dumps({
    "name": summary.model, "batch": summary.samples, "sequence": summary.options.get("sequence"),
    "parameters": summary.parameters, "operators": summary.operators, "flops": summary.flops,
    "footprint": summary.footprint_bytes, "uncounted": [f"{one}" for one in summary.uncounted],
    "seconds": seconds, "gib": kib / 2**20,
}))
"""
_HEAD = """# Capture of the zoo

    python benchmarks/capture.py

The default step of every model on fake tensors, each in a process of its own: seconds of CPU, and the memory that it
takes above a process that has captured `gpt2-tiny`. A capture may take {most_s:.0f} s and {most_gib} GiB.

| model | parameters | batch | tokens | operators | TFLOP a step | footprint, GiB | CPU, s | memory, GiB |
|---|---|---|---|---|---|---|---|---|
"""


def main(names: list[str]) -> None:
    """Capture, say, write."""
    from tmtrain.capturing import ZOO

    rows = [_measured(name) for name in names or ZOO]
    text = (
        _HEAD.format(most_s=MOST_S, most_gib=MOST_GIB) + "\n".join(map(_line, rows)) + "\n\n" + _verdict(rows)
    )
    if names:
        print(text)
        return
    (Path(__file__).parent / "capture.md").write_text(text, encoding="utf-8")


def _measured(name: str) -> dict[str, Any]:
    print(name, end=" ", flush=True)
    done = subprocess.run([sys.executable, "-c", _ONE, name], capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{row['seconds']:.1f} s, {row['gib']:.2f} GiB", flush=True)
    return row


def _line(row: dict[str, Any]) -> str:
    cells = [
        row["name"],
        f"{row['parameters']:,}",
        f"{row['batch']}",
        f"{row['sequence'] or '–'}",
        f"{row['operators']:,}",
        f"{row['flops'] / 1e12:,.3g}",
        f"{row['footprint'] / 2**30:,.3g}",
        f"{row['seconds']:.1f}",
        f"{row['gib']:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _verdict(rows: list[dict[str, Any]]) -> str:
    over = [row["name"] for row in rows if row["seconds"] > MOST_S or row["gib"] > MOST_GIB]
    uncounted = [f"{row['name']}: {', '.join(row['uncounted'])}" for row in rows if row["uncounted"]]
    return (
        f"Above the limits: {', '.join(over) or 'none'}. "
        f"Operators without a FLOP formula: {'; '.join(uncounted) or 'none'}.\n"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
