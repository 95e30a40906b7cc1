"""What docs/real-run.md shows works."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "real-run.md").read_text()


def test_the_example_runs_and_plans(tmp_path: Path) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    argv = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, bytes_in = done.stdout.split()
    assert float(seconds) > 0
    assert int(bytes_in) > 0
    assert list(tmp_path.iterdir()) == []
