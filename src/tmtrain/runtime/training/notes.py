"""What a run has to say besides its numbers: each note is kept, and warned of once, at the user's line."""

import sys
import sysconfig
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import tmtrain

_OURS = f"{Path(tmtrain.__file__).parent}/"
_INSTALLED = tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib"))
"""Where a trainer or `contextlib` stands between the user's line and ours; the user's own files are elsewhere."""


class RunNotes:
    """The notes of a run so far."""

    def __init__(self) -> None:
        self._notes: list[str] = []

    @property
    def all(self) -> tuple[str, ...]:
        """In order, each once."""
        return tuple(self._notes)

    def tell(self, note: str) -> None:
        """Keep `note`, and warn of it if it is new.

        A number of frames to skip would be right for one way of running only: in a loop of others, their callbacks and
        trainer stand in between. So the user's line is looked for.
        """
        if note in self._notes:
            return
        self._notes.append(note)
        frame = _users_frame(sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
        warnings.warn_explicit(
            note,
            UserWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
            module=frame.f_globals.get("__name__"),
            registry=frame.f_globals.setdefault("__warningregistry__", {}),
        )


def _users_frame(frame: FrameType) -> FrameType:
    """Return the nearest frame that runs neither our code nor installed code; without one, the outermost."""
    frames = list(_frames_from(frame))
    for candidate in frames:
        file = candidate.f_code.co_filename
        if not file.startswith((_OURS, "<frozen ", *_INSTALLED)):
            return candidate
    return frames[-1]


def _frames_from(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
