"""One word for one thing: the glossary's words are used, the words that it retires are not, and class names are unique."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.package import ROOT, trees

GLOSSARY = ROOT / "docs" / "glossary.md"

ON_DISK = ("replays", "recipe", "replay_s", "remade_bytes")
"""Words of file formats of earlier versions, which are still read: `_RENAMED` next to each format."""
RETIRED_VARIABLES = frozenset({"made", "found", "told", "given", "its", "longer"})


def _rows() -> list[list[str]]:
    lines = GLOSSARY.read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if row[0] not in ("Word", "---")]


def _retired() -> re.Pattern[str]:
    words = {word for row in _rows() for word in re.findall("`([^`]+)`", row[2])}
    # Any case, inside of names too: `Remaker` and `_replays_of` are the retired words as well.
    return re.compile("|".join(sorted(re.escape(word) for word in words)), re.IGNORECASE)


def _texts() -> Iterator[tuple[Path, str]]:
    for folder in ("src", "tests", "benchmarks", "examples", "docs"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".j2") and path not in (GLOSSARY, Path(__file__)):
                yield path, path.read_text()
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        yield ROOT / name, (ROOT / name).read_text()


def _uses(text: str) -> Iterator[str]:
    """Yield the lines of `text` with a retired word, the words of old files apart."""
    retired = _retired()
    on_disk = re.compile("|".join(f'["`]{word}["`]|{word}[.]parquet' for word in ON_DISK))
    yield from (line.strip() for line in text.splitlines() if retired.search(on_disk.sub("", line)))


def _named_twice(trees: list[tuple[str, ast.Module]]) -> dict[str, list[str]]:
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(path)
    return {name: paths for name, paths in homes.items() if len(paths) > 1}


def _variables(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the names that are assigned, declared as parameters or as attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def test_no_retired_word_is_used() -> None:
    uses = [f"{path.relative_to(ROOT)}: {line}" for path, text in _texts() for line in _uses(text)]
    assert uses == []


@pytest.mark.parametrize(
    "line", ["class Remaker:", "x = replays_of[0]", "It is made again.", "def open_up() -> None:"]
)
def test_a_retired_word_would_be_seen(line: str) -> None:
    assert list(_uses(line)) == [line]


def test_words_of_old_files_may_be_read() -> None:
    assert list(_uses('_RENAMED = {"replay_s": "recompute_s"}')) == []


def test_class_names_are_unique() -> None:
    assert _named_twice(list(trees())) == {}


def test_a_second_class_of_a_name_would_be_seen() -> None:
    again = ast.parse("class Plan:\n    pass\n")
    assert list(_named_twice([*trees(), ("another.py", again)])) == ["Plan"]


def test_variables_are_nouns() -> None:
    hits = [
        f"{path}:{line}: {name}"
        for path, tree in trees()
        for name, line in _variables(tree)
        if name.strip("_") in RETIRED_VARIABLES
    ]
    assert hits == []


def test_the_glossary_is_of_words_in_use() -> None:
    text = " ".join(text for _, text in _texts()).lower()
    entries = [word.strip() for row in _rows() for word in row[0].split(",")]
    assert [word for word in entries if word.lower() not in text] == []
    assert len(entries) == len(set(entries))
