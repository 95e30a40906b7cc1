"""Wherever a bound is claimed, its class stands beside it: there are plans of other kinds that need less."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.package import trees

from tmtrain.plans import CLASS
from tmtrain.reporting import write_report
from tmtrain.reporting.example import write_example

ROOT = Path(__file__).parents[2]
BETTER = "needs?|takes?|moves?|writes?|less|lower|better|undercut|beats?|lie|be on|be here|cross|can"
CLAIM = re.compile(
    rf"\bno (?:policy|plan|other plan)\b[^.;:]*\b(?:{BETTER})\b|\bevery (?:policy|plan)\b[^.;]*\bneeds at least\b",
    re.IGNORECASE,
)
"""That nothing is better, in the words that one would write."""
OTHERS = re.compile(
    "no plan (?:or pager )?can cause|no other plan beats|no policy with the same fast memory is better", re.I
)
"""What is not about a bound: laws of the engine, and the best of those that are compared."""
IN_FULL = re.compile(
    r"runs? the step's operators in their order, moves? pages, and recomputes? (?:each block|nothing)"
)
NAMED = re.compile(rf"{IN_FULL.pattern}|\b(?:the|its) class\b|`?covers`?|\{{CLASS\}}|certificate\.covers")


def _sentences(text: str) -> Iterator[str]:
    """Yield the sentences of `text`: without markup, and without the quotes between two pieces of a string."""
    plain = re.sub(r"<[^>]+>", " ", text).replace("\N{NO-BREAK SPACE}", " ").replace("&#39;", "'")
    plain = re.sub(r"[\"']\s*\n\s*f?[\"']", "", plain)
    yield from re.split(r"(?<=[.!?;])\s+|\n\s*\n", re.sub(r"[ \t]*\n[ \t]*(?=\S)", " ", plain))


def _unclassed(text: str, *, by: re.Pattern[str]) -> list[str]:
    return [
        sentence
        for sentence in _sentences(text)
        if CLAIM.search(sentence) and not by.search(sentence) and not OTHERS.search(sentence)
    ]


def test_the_readme_says_the_class_in_full_wherever_it_claims_a_bound() -> None:
    readme = (ROOT / "README.md").read_text()
    assert IN_FULL.search(" ".join(readme.split()))
    assert _unclassed(readme, by=re.compile(rf"{IN_FULL.pattern}|certificate\.covers")) == []


def test_the_page_says_the_class_in_full_wherever_it_claims_a_bound(tmp_path: Path) -> None:
    page = re.sub(r"(?s)<(style|script|svg).*?</\1>", "", write_report(write_example(tmp_path)).read_text())
    words = " ".join(" ".join(_sentences(page)).split())
    assert words.count(CLASS) >= 4, "under the figure, in how to read it, and of each model"
    assert _unclassed(page, by=IN_FULL) == []


def test_docs_examples_and_code_name_the_class() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
    texts = [(str(path.relative_to(ROOT)), path.read_text()) for path in files]
    package = ROOT / "src/tmtrain"
    texts += [(name, (package / name).read_text()) for name, _ in trees()]
    claims = [f"{name}: {claim}" for name, text in texts for claim in _unclassed(text, by=NAMED)]
    assert claims == []


@pytest.mark.parametrize(
    "claim",
    [
        "0.3 J a step; no policy can need less than 0.2 J",
        "no policy can do with less than 1 J",
        "which no policy\nunder the same rules can undercut.",
        "no policy with this fast memory can be on its other side",
        "Every policy under the same rules, known or unknown, needs at least this much.",
        '"in the figure, no plan "\n    "can lie in the grey"',
    ],
)
def test_a_claim_without_its_class_would_be_seen(claim: str) -> None:
    assert _unclassed(claim, by=NAMED)
    assert not _unclassed(f"No {CLASS} needs less.", by=IN_FULL)


def test_the_glossary_says_the_class_once() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text()
    assert len(IN_FULL.findall(glossary)) == 1
    assert "| the class |" in glossary
