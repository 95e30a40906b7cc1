"""What docs/real-run.md shows works."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "real-run.md").read_text()


def test_the_examples_run_and_plan(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    argv = [sys.executable, "-W", "error", "-c", "\n".join(blocks)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seconds, bytes_in = done.stdout.split()
    assert float(seconds) > 0
    assert int(bytes_in) > 0
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["large.safetensors", "last.safetensors"]
