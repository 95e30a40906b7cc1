"""The page in a real browser: no error on its console, every figure drawn, no request to anywhere."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tmtrain.reporting import write_report
from tmtrain.reporting.example import write_example

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--enable-logging=stderr",
)

# Runs at the end of the page: says what the reader sees before and after a click on the last tab.
PROBE = """
<script>
addEventListener("load", () => {
  const shown = () => [...document.querySelectorAll("figure svg")]
    .filter((svg) => svg.getBoundingClientRect().height > 100).map((svg) => svg.getAttribute("aria-label"));
  const first = shown();
  const tabs = [...document.querySelectorAll(".tabs a")];
  tabs[tabs.length - 1].click();
  setTimeout(() => {
    const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
    const requests = performance.getEntriesByType("resource").length;
    document.title = JSON.stringify({ first, last: shown(), wide, requests });
  }, 50);
});
</script>
"""


@pytest.fixture
def browser() -> str:
    if CHROMIUM is None and os.environ.get("CI"):
        pytest.fail("the continuous integration must have Debian's chromium: apt-get install chromium")
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    return CHROMIUM


def _open(browser: str, page: Path, profile: Path) -> tuple[str, str]:
    """Return the page as the browser holds it after loading, and the browser's log."""
    command = [
        browser,
        *FLAGS,
        f"--user-data-dir={profile}",
        "--virtual-time-budget=2000",
        "--dump-dom",
    ]
    done = subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr


def _console(log: str) -> list[str]:
    return [line for line in log.splitlines() if "CONSOLE" in line]


def test_it_opens_without_error_and_shows_every_figure(browser: str, tmp_path: Path) -> None:
    page = write_report(write_example(tmp_path / "evaluation"))
    probed = tmp_path / "probed.html"
    probed.write_text(page.read_text().replace("</body>", f"{PROBE}</body>"))
    dom, log = _open(browser, probed, tmp_path / "profile")
    assert _console(log) == []
    title = re.search(r"<title>(.*?)</title>", dom)
    assert title is not None
    seen: dict[str, Any] = json.loads(title[1])
    for key, model in (("first", "made-up-small"), ("last", "made-up-large")):
        names = [name.split("-made-up")[0] for name in seen[key]]
        assert names == [
            "rivals",
            "memory",
            "overlap",
            "power",
            "prices",
            "monitor",
            "sensitivity",
            "tornado",
        ]
        assert all(model in name for name in seen[key])
    assert seen["wide"] <= 0, "the page must not scroll sideways"
    assert seen["requests"] == 0


@pytest.mark.slow
def test_the_console_would_have_told(browser: str, tmp_path: Path) -> None:
    """The check above can fail: an error, or a request that the page's own policy forbids, is on the console."""
    page = write_report(write_example(tmp_path / "evaluation"))
    broken = tmp_path / "broken.html"
    image = '<img src="https://example.invalid/x.png" alt="">'
    broken.write_text(page.read_text().replace("</body>", f"{image}<script>nowhere()</script></body>"))
    _, log = _open(browser, broken, tmp_path / "profile")
    assert any("nowhere" in line for line in _console(log))
    assert any("Content Security Policy" in line for line in _console(log))
