"""The folder of a study: one study at a time works in it, and none takes the place of another unasked."""

import fcntl
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from tmtrain.errors import InputError

PARTS = "parts"
"""Folder of what is done, while the rest is not."""
RESULTS = "results.json"
_OURS = {RESULTS, "sensitivity.json", "monitor.json", "report.html", "runs", PARTS}


@contextmanager
def study_folder(out: Path, *, resume: bool, force: bool) -> Generator[None]:
    """Keep `out` to one study while it works.

    Args:
        out: Made if it is not there.
        resume: Parts of an interrupted study may be there, and stay.
        force: What an earlier study left may be there: its parts go at once, its results when there are new ones.

    Raises:
        InputError: there is an earlier study, or one that works, or files of somebody else.
    """
    _check_foreign(out)
    with _locked(out):
        if force:
            shutil.rmtree(out / PARTS, ignore_errors=True)
        else:
            _check_earlier(out, resume=resume)
        yield


def _check_foreign(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file, and a study needs a folder: name another one with --out")
    names = {path.name for path in out.iterdir()} if out.exists() else set[str]()
    if names and not names & _OURS:
        raise InputError(f"{out} holds {min(names)} and no study: name a new folder with --out")


def _check_earlier(out: Path, *, resume: bool) -> None:
    parts = len(list((out / PARTS).glob("*.json")))
    if parts and not resume:
        raise InputError(
            f"{out} holds an interrupted study ({parts} settings done): --resume goes on with it, --force begins anew"
        )
    if (out / RESULTS).exists() and not parts:
        raise InputError(
            f"{out} holds the results of an earlier study: name another folder with --out, or replace them with --force"
        )


@contextmanager
def _locked(out: Path) -> Generator[None]:
    """Hold the folder's lock, which the system lets go of when the process ends, however it does."""
    is_new = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        folder = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write into {out}: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another tmtrain evaluate works in {out}: wait for it, or name another folder with --out"
            ) from error
        yield
    finally:
        os.close(folder)
        if is_new:
            with suppress(OSError):  # unless there is something in it
                out.rmdir()
