"""How long the capture of a 175-billion-parameter step takes, and how much memory: ``python benchmarks/capture_175b.py``.

Memory is the highest resident set of this process, less that after the imports. The targets are those of the project:
60 seconds and 1 GiB. Exits with 1 if either is missed.
"""

import json
import resource
import sys
import time

import tmtrain.capturing.fake  # noqa: F401  (torch and transformers count as imports)
from tmtrain.capturing import capture_model
from tmtrain.units import format_bytes

TARGET_S = 60.0
TARGET_BYTES = 2**30


def peak_rss_bytes() -> int:
    """Return the highest resident set so far (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Capture gpt3-175b and print what it took as JSON."""
    imports_bytes = peak_rss_bytes()
    start = time.perf_counter()
    trace = capture_model("gpt3-175b")
    wall_s = time.perf_counter() - start
    rss_bytes = peak_rss_bytes() - imports_bytes
    report = {
        "model": trace.model,
        "wall_s": round(wall_s, 2),
        "rss_above_imports": format_bytes(rss_bytes),
        "operators": len(trace.operators),
        "us_per_operator": round(1e6 * wall_s / len(trace.operators), 1),
        "footprint": format_bytes(trace.footprint_bytes),
        "flops": int(trace.operators.flops.sum()),
    }
    print(json.dumps(report, indent=1))
    return int(wall_s > TARGET_S or rss_bytes > TARGET_BYTES)


if __name__ == "__main__":
    sys.exit(main())
