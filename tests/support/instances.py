"""Random steps, for hypothesis: any order of reads and writes is a legal cyclic step."""

import random

from hypothesis import strategies as st

from tests.support.timelines import make_timeline
from tmtrain.lowering.timeline import Timeline

_HOW = ("r", "r", "rw", "w", "new")


@st.composite
def tiny_timelines(
    draw: st.DrawFn,
    *,
    max_slices: int = 6,
    max_extents: int = 4,
    max_pages: int = 3,
    unit: int = 1,
    how: tuple[str, ...] = _HOW,
) -> Timeline:
    """Draw a step whose sizes and capacity are multiples of `unit` pages, with little more room than its largest slice."""
    num_slices, num_extents = draw(st.integers(3, max_slices)), draw(st.integers(2, max_extents))
    pages = {f"e{i}": unit * draw(st.integers(1, max_pages)) for i in range(num_extents)}
    slices = [
        " ".join(
            f"{name}:{draw(st.sampled_from(how))}"
            for name in draw(st.lists(st.sampled_from(list(pages)), unique=True, min_size=1, max_size=2))
        )
        for _ in range(num_slices)
    ]
    needed = max(sum(pages[word.split(":")[0]] for word in text.split()) for text in slices)
    fast = needed + unit * draw(st.integers(0, 2))
    seconds = draw(st.lists(st.sampled_from([0.5, 1.0, 3.0]), min_size=num_slices, max_size=num_slices))
    return make_timeline(slices, pages=pages, fast_pages=fast, duration_s=seconds, page_bytes=8)


def crowded_timeline(
    seed: int, *, unit: int = 1, extents: int = 4, slices: int = 8, max_pages: int = 2
) -> Timeline:
    """Make a small step in which, two times out of three, something has to move."""
    rng = random.Random(seed)
    pages = {f"e{i}": unit * rng.randint(1, max_pages) for i in range(rng.randint(3, extents))}
    touched = [
        " ".join(f"{name}:{rng.choice(_HOW)}" for name in rng.sample(list(pages), rng.choice((1, 1, 2))))
        for _ in range(rng.randint(4, slices))
    ]
    needed = max(sum(pages[word.split(":")[0]] for word in text.split()) for text in touched)
    return make_timeline(touched, pages=pages, fast_pages=needed + unit * rng.choice((0, 0, 1)), page_bytes=8)


def middle_timeline(seed: int, *, how: tuple[str, ...] = _HOW, extents: int = 40) -> Timeline:
    """Make a step of some hundred gaps, at a tight capacity."""
    rng = random.Random(seed)
    pages = {f"e{i}": rng.randint(1, 9) for i in range(extents)}
    slices = [
        " ".join(f"{name}:{rng.choice(how)}" for name in rng.sample(list(pages), rng.randint(1, 4)))
        for _ in range(3 * extents)
    ]
    needed = max(sum(pages[word.split(":")[0]] for word in text.split()) for text in slices)
    fast = needed + int(rng.random() * 0.5 * (sum(pages.values()) - needed))
    seconds = [rng.choice([0.5, 1.0, 3.0]) for _ in slices]
    return make_timeline(slices, pages=pages, fast_pages=fast, duration_s=seconds, page_bytes=8)


def linear_timeline(seed: int, *, how: str, extents: int = 60) -> Timeline:
    """Make a step in which everything is born before it is used `how`, so that no gap wraps."""
    rng = random.Random(seed)
    pages = {f"e{i}": rng.randint(1, 9) for i in range(extents)}
    births = [f"{name}:new" for name in pages]
    uses = [
        " ".join(f"{name}:{how}" for name in rng.sample(list(pages), rng.randint(1, 4)))
        for _ in range(2 * extents)
    ]
    fast = 36 + rng.randint(0, sum(pages.values()) // 2)
    return make_timeline(births + uses, pages=pages, fast_pages=fast, page_bytes=8)


def layered_timeline(seed: int, *, layers: int) -> Timeline:
    """Make a step like training: forward makes activations from weights, backward uses them the other way round.

    Then an optimizer works through weights, gradients and states. Some slices, as many as `layers`, do nothing but last.
    """
    rng = random.Random(seed)
    pages: dict[str, int] = {}
    for layer in range(layers):
        pages |= {f"{kind}{layer}": rng.randint(1, 6) for kind in "wasg"}
    slices = [f"w{i}:r a{i}:new" + (f" a{i - 1}:r" if i else "") for i in range(layers)]
    slices += [f"w{i}:r a{i}:r g{i}:new" for i in reversed(range(layers))]
    slices += [f"w{i}:rw s{i}:rw g{i}:r" for i in range(layers)]
    for _ in range(layers):
        slices.insert(rng.randrange(len(slices)), "")
    needed = max(sum(pages[word.split(":")[0]] for word in text.split()) for text in slices)
    fast = needed + int(rng.random() * 0.6 * (sum(pages.values()) - needed))
    seconds = [rng.choice([0.5, 1.0, 3.0]) for _ in slices]
    return make_timeline(slices, pages=pages, fast_pages=fast, duration_s=seconds, page_bytes=8)
