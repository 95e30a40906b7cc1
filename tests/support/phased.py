"""Steps with a forward, a backward and an optimizer, by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.support.simulated import PAGE
from tests.support.timelines import make_timeline
from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase, Role

_PHASES = {"f": Phase.FORWARD, "b": Phase.BACKWARD, "o": Phase.OPTIMIZER}


def phased_step(
    slices: Sequence[str],
    phases: str,
    *,
    pages: Mapping[str, int],
    fast_pages: int,
    frees: Mapping[int, str] | None = None,
    duration_s: Sequence[float] | None = None,
    roles: Mapping[str, Role] | None = None,
    operators: Mapping[int, str] | None = None,
) -> Timeline:
    """Build a timeline whose slice t is of the phase ``phases[t]``: forward, backward or optimizer.

    Args:
        slices, pages, fast_pages, frees, duration_s, roles: As for `tests.support.timelines.make_timeline`.
        phases: A letter per slice: f, b or o.
        operators: Names of operators, by slice, where they matter; those of convolutions do matrix products.
    """
    timeline = make_timeline(
        slices,
        pages=pages,
        fast_pages=fast_pages,
        frees=frees,
        duration_s=duration_s,
        roles=roles,
        page_bytes=PAGE,
    )
    named = operators or {}
    names = tuple(named.get(t, name) for t, name in enumerate(timeline.operator_names))
    products = np.array([1.0 if "convolution" in name else 0.0 for name in names])
    return replace(
        timeline,
        operator_names=names,
        slices=replace(
            timeline.slices,
            phase=np.array([_PHASES[letter] for letter in phases], np.int8),
            matrix_flops=products,
        ),
    )
