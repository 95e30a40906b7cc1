"""Sentences that claim a bound: no plan, or no policy, needs less."""

import re
from collections.abc import Iterator

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


def sentences_of(text: str) -> Iterator[str]:
    """Yield the sentences of `text`: without markup, and without the quotes between two pieces of a string."""
    plain = re.sub(r"<[^>]+>", " ", text).replace("\N{NO-BREAK SPACE}", " ").replace("&#39;", "'")
    plain = re.sub(r"[\"']\s*\n\s*f?[\"']", "", plain)
    yield from re.split(r"(?<=[.!?;])\s+|\n\s*\n", re.sub(r"[ \t]*\n[ \t]*(?=\S)", " ", plain))


def unclassed(text: str, *, by: re.Pattern[str]) -> list[str]:
    """Return the sentences that claim a bound without saying its class in the words of `by`."""
    return [
        sentence
        for sentence in sentences_of(text)
        if CLAIM.search(sentence) and not by.search(sentence) and not OTHERS.search(sentence)
    ]
