"""The checker is worth something because it shares no code with the planner."""

import tomllib
from pathlib import Path

from tmtrain.plan import file

SHARED = {"__init__", "plan", "file"}
"""The Plan and its file."""


def test_every_file_of_the_planner_is_forbidden_to_the_checker() -> None:
    room = Path(file.__file__).parent
    planner = {f"tmtrain.plan.{path.stem}" for path in room.glob("*.py") if path.stem not in SHARED}
    settings = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (apart,) = (c for c in contracts if c.get("source_modules") == ["tmtrain.check"])
    assert set(apart["forbidden_modules"]) == planner
