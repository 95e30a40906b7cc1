"""doctor: what is missing is named, with the remedy, and nothing else is needed to say so."""

import json
import subprocess
import sys

import pytest
from tests.support.thoroughness import rest_slow

from tmtrain.cli.app import main
from tmtrain.cli.checks import check_everything, check_package, required_packages


def test_here_everything_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    names = [check["name"] for check in said["checks"]]
    others = {"python", "fake tensors", "cores", "memory", "free disk", "chromium"}
    assert others | set(required_packages()) <= set(names)
    assert main(["doctor"]) == 0
    assert "all that is needed is here" in capsys.readouterr().out


def test_the_packages_are_those_that_the_release_names() -> None:
    assert {"numpy", "scipy", "torch", "transformers", "cyclopts"} <= set(required_packages())
    assert not {"pytest", "ruff", "hypothesis"} & set(required_packages())


@pytest.mark.parametrize("missing", rest_slow(["torch", "scipy", "numba"]))
def test_a_missing_package_is_named_with_its_remedy(missing: str) -> None:
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from tmtrain.cli.app import main\n"
        "sys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "something needed is missing" in done.stdout
    assert f"pip install {missing}" in " ".join(done.stdout.split())


def test_doctor_loads_no_room() -> None:
    code = (
        "import sys\n"
        "from tmtrain.cli.app import main\n"
        "main(['doctor'])\n"
        "print(sorted({name.split('.')[1] for name in sys.modules if name.startswith('tmtrain.')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['cli', 'errors', 'units']"


def test_a_package_that_breaks_when_imported_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(name: str) -> object:
        raise RuntimeError(f"{name} was built for another machine")

    monkeypatch.setattr("tmtrain.cli.checks.import_module", explode)
    check = check_package("numpy")
    assert (check.ok, check.needed) == (False, True)
    assert "built for another machine" in check.finding


def test_without_a_browser_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmtrain.cli.checks.shutil.which", lambda name: None)
    browser = next(check for check in check_everything() if check.name == "chromium")
    assert (browser.ok, browser.needed) == (False, False)
    assert "apt-get install chromium" in browser.remedy
