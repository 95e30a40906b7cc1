"""Wherever a bound is claimed, its class stands beside it: there are plans of other kinds that need less.

Of the report's page: `tests/unit/reporting/test_page.py`.
"""

import re
from pathlib import Path

import pytest
from tests.support.claims import IN_FULL, NAMED, unclassed
from tests.support.package import trees

from tmtrain.plans import CLASS

ROOT = Path(__file__).parents[2]


def test_the_readme_says_the_class_in_full_wherever_it_claims_a_bound() -> None:
    readme = (ROOT / "README.md").read_text()
    assert IN_FULL.search(" ".join(readme.split()))
    assert unclassed(readme, by=re.compile(rf"{IN_FULL.pattern}|certificate\.covers")) == []


def test_docs_examples_and_code_name_the_class() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.py")]
    texts = [(str(path.relative_to(ROOT)), path.read_text()) for path in files]
    package = ROOT / "src/tmtrain"
    texts += [(name, (package / name).read_text()) for name, _ in trees()]
    claims = [f"{name}: {claim}" for name, text in texts for claim in unclassed(text, by=NAMED)]
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
    assert unclassed(claim, by=NAMED)
    assert not unclassed(f"No {CLASS} needs less.", by=IN_FULL)


def test_the_glossary_says_the_class_once() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text()
    assert len(IN_FULL.findall(glossary)) == 1
    assert "| the class |" in glossary
