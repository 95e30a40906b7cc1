"""One colour per policy, role and energy component, the same in every figure of a page.

Colours that the common forms of colour blindness keep apart: for policies Okabe and Ito, "Color Universal
Design" (2008); for roles and components Paul Tol, "Colour Schemes" (SRON/EPS/TN/09-002,
2021), bright and light.
"""

from collections.abc import Iterable

from tmtrain.reporting.section import ALL_FAST, OURS
from tmtrain.trace.trace import Phase, Role

OURS_COLOUR = "#0072B2"
_FIXED = {OURS: OURS_COLOUR, ALL_FAST: "#9A9A9A"}
_OKABE_ITO = ("#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9")
_TOL_MUTED = ("#882255", "#999933", "#332288", "#44AA99", "#661100")
_RIVALS = _OKABE_ITO + _TOL_MUTED
_TOL_LIGHT = (
    "#77AADD",
    "#EE8866",
    "#44BB99",
    "#EEDD88",
    "#FFAABB",
    "#99DDFF",
    "#BBCC33",
    "#AAAA00",
    "#DDDDDD",
)
_COMPONENTS = _TOL_LIGHT

ROLE_COLOURS: dict[Role, str] = {
    Role.PARAMETER: "#4477AA",
    Role.OPTIMIZER_STATE: "#AA3377",
    Role.GRADIENT: "#EE6677",
    Role.ACTIVATION: "#CCBB44",
    Role.BUFFER: "#66CCEE",
    Role.INPUT: "#228833",
    Role.TEMPORARY: "#BBBBBB",
}
"""In the order in which figures stack them: what lives longest at the bottom."""
IN_FLIGHT_COLOUR = "#333333"
PHASE_COLOURS: dict[Phase, str] = {
    Phase.DATA: "#F5F5F5",
    Phase.FORWARD: "#DCE9F3",
    Phase.LOSS: "#F6D8C6",
    Phase.BACKWARD: "#E9E2F1",
    Phase.OPTIMIZER: "#DFEFE1",
}
FATE_COLOURS = {"kept": "#4477AA", "moved": "#EE8866", "recomputed": "#BBCC33"}
READ_COLOUR = "#009E73"
WRITE_COLOUR = "#D55E00"
BUSY_COLOUR = "#7F9DB9"
STALL_COLOUR = "#B2182B"
LOW_COLOUR, HIGH_COLOUR = "#77AADD", "#EE8866"
"""Ends of the range of a constant."""
BOUND_COLOUR = "#111111"
MAX_COMPONENTS = len(_COMPONENTS)
"""Components beyond this many are drawn together as "other"."""


def policy_colours(policies: Iterable[str]) -> dict[str, str]:
    """Give each policy its colour: fixed for ours and all-fast, in order of first appearance for rivals.

    >>> policy_colours(["lru", "tmtrain", "lru"])
    {'lru': '#E69F00', 'tmtrain': '#0072B2'}
    """
    colours: dict[str, str] = {}
    rivals = 0
    for policy in policies:
        if policy in colours:
            continue
        if policy in _FIXED:
            colours[policy] = _FIXED[policy]
            continue
        colours[policy] = _RIVALS[rivals % len(_RIVALS)]
        rivals += 1
    return colours


def component_colours(components: Iterable[str]) -> dict[str, str]:
    """Give each energy component its colour, in order.

    >>> component_colours(["matrix", "vector"])
    {'matrix': '#77AADD', 'vector': '#EE8866'}
    """
    return {name: _COMPONENTS[i % len(_COMPONENTS)] for i, name in enumerate(components)}
