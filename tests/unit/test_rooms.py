"""The house stays one that a newcomer can read: small rooms, small objects, a map that is true."""

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

from tests.support.package import PACKAGE, ROOT, trees

MOST_FILES = 15
MOST_FUNCTION_LINES = 40
"""Without the docstring, which says what a caller must know, however long that is."""
MOST_CLASS_LINES = 250

_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def _lines(node: _Definition) -> int:
    assert node.end_lineno is not None
    first = node.body[0]
    documented = ast.get_docstring(node) is not None and not isinstance(node, ast.ClassDef)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return node.end_lineno - node.lineno + 1 - docstring


def _longer_than(limit: int, *kinds: type[_Definition]) -> list[str]:
    return [
        f"{path}: {node.name} has {_lines(node)} lines"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, kinds) and _lines(node) > limit
    ]


def _map() -> ModuleType:
    spec = importlib.util.spec_from_file_location("map", ROOT / "docs" / "map.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_room_is_crowded() -> None:
    rooms = {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE}
    files = {str(room.relative_to(PACKAGE)): len(list(room.glob("[!_]*.py"))) for room in rooms}
    assert {room: number for room, number in files.items() if number > MOST_FILES} == {}


def test_every_room_says_what_is_in_it() -> None:
    silent = [path for path, tree in trees() if not ast.get_docstring(tree)]
    assert silent == []


def test_functions_fit_a_screen() -> None:
    assert _longer_than(MOST_FUNCTION_LINES, ast.FunctionDef, ast.AsyncFunctionDef) == []


def test_classes_are_of_one_job() -> None:
    assert _longer_than(MOST_CLASS_LINES, ast.ClassDef) == []


def test_the_formatter_is_not_overruled() -> None:
    folders = ("src", "tests", "benchmarks", "examples", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in files if path != Path(__file__) and "fmt: skip" in path.read_text()] == []


def test_nobody_writes_what_is_private_to_another() -> None:
    """`self._x = ...` is one's own; so is what a function has just made and calls by the name of its own class."""
    hits = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and node.attr.startswith("_")
        and not (isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"))
    ]
    assert hits == []


def test_the_map_is_what_the_contracts_and_imports_say() -> None:
    assert (ROOT / "docs" / "map.svg").read_text() == _map().svg(), "python docs/map.py draws it anew"
