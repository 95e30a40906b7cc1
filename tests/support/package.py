"""The package as text: what the tests of words and rooms read."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tmtrain"


def trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield each module's path below the package, and its syntax tree."""
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())
