"""What ``tmtrain doctor`` looks at. Imports nothing that may be missing."""

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path

from tmtrain import __version__
from tmtrain.units import format_bytes

_LEAST_PYTHON = (3, 11)
_LEAST_RAM_BYTES = 2 << 30
"""torch, transformers and the capture of a 175B step together."""
_LEAST_DISK_BYTES = 1 << 30
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    needed: bool
    """tmtrain does not work without it; otherwise one part of it does not."""
    finding: str
    remedy: str
    """What to do if it is not ok; "" if it is."""


def check_everything() -> Iterator[Check]:
    """Yield the checks in the order in which to repair what fails."""
    yield _python()
    yield _note("tmtrain", f"{__version__}, {Path(__file__).parents[1]}")
    yield from (check_package(name) for name in required_packages())
    yield _fake_tensors()
    yield _note("cores", str(os.cpu_count()))
    yield _space(
        "memory",
        _ram_bytes(),
        least=_LEAST_RAM_BYTES,
        remedy="the capture of large models may be killed: use smaller ones",
    )
    yield _space(
        "free disk",
        shutil.disk_usage(Path.cwd()).free,
        least=_LEAST_DISK_BYTES,
        remedy="results may not fit here: write them elsewhere with --out",
    )
    yield _browser()


def required_packages() -> list[str]:
    """Return the names of the packages that this release says it needs.

    >>> "numpy" in required_packages(), "pytest" in required_packages()
    (True, False)
    """
    lines = metadata.requires("tmtrain") or []
    return [re.split(r"[^\w-]", line, maxsplit=1)[0] for line in lines if "extra ==" not in line]


def check_package(name: str) -> Check:
    """Try to import a package.

    >>> check_package("no_such_package").remedy
    'pip install no_such_package'
    """
    try:
        import_module(name)
        return Check(name=name, ok=True, needed=True, finding=metadata.version(name), remedy="")
    except Exception as error:  # a broken binary package raises anything when it is imported
        finding = f"cannot be imported: {type(error).__name__}: {error}"
        return Check(name=name, ok=False, needed=True, finding=finding, remedy=f"pip install {name}")


def _python() -> Check:
    ok = sys.version_info >= _LEAST_PYTHON
    remedy = "" if ok else "install Python 3.11 or newer and run: make PYTHON=python3.11"
    return Check(
        name="python",
        ok=ok,
        needed=True,
        finding=f"{platform.python_version()}, {sys.executable}",
        remedy=remedy,
    )


def _fake_tensors() -> Check:
    """Multiply two matrices that have shapes and no bytes: what capture is made of."""
    try:
        import torch
        from torch._subclasses.fake_tensor import FakeTensorMode

        with FakeTensorMode():
            shape = tuple((torch.empty(2, 3) @ torch.empty(3, 4)).shape)
        return Check(name="fake tensors", ok=shape == (2, 4), needed=True, finding="work", remedy="")
    except Exception as error:
        remedy = "install the tested torch: pip install -c constraints.txt torch"
        return Check(
            name="fake tensors",
            ok=False,
            needed=True,
            finding=f"{type(error).__name__}: {error}",
            remedy=remedy,
        )


def _browser() -> Check:
    path = next(filter(None, map(shutil.which, _BROWSERS)), None)
    remedy = "" if path else "only one test needs it: apt-get install chromium"
    return Check(
        name="chromium", ok=path is not None, needed=False, finding=path or "not finding", remedy=remedy
    )


def _ram_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _space(name: str, size: int, *, least: int, remedy: str) -> Check:
    ok = size >= least
    return Check(name=name, ok=ok, needed=False, finding=format_bytes(size), remedy="" if ok else remedy)


def _note(name: str, finding: str) -> Check:
    return Check(name=name, ok=True, needed=False, finding=finding, remedy="")
