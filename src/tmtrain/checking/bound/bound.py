"""The bound that a certificate's multipliers prove, from the trace, the machine and the multipliers alone.

Note [What is proved]
    The programme of `tmtrain.checking.bound.sides` and `tmtrain.checking.bound.columns` is a relaxation. Every plan of the
    certificate's class gives values of the columns, within their limits, that keep all rows and cost no more than the plan.
    For any multipliers, the sides of the rows plus the least that the columns then cost is no more than the cost of any
    such values: weak duality. So a wrong multiplier makes the bound smaller, never wrong.

    The cuts of forward into recompute blocks and the write budget say what the class is, the edges of the bins how fine the
    programme is. These three stand in the certificate, and nothing else of the plan is looked at.
"""

from itertools import pairwise

from tmtrain.checking.bound.blocks import read_blocks
from tmtrain.checking.bound.columns import columns_least
from tmtrain.checking.bound.facts import gather_facts
from tmtrain.checking.bound.multipliers import Multipliers
from tmtrain.checking.bound.prices import computing, prices_of
from tmtrain.checking.bound.sides import lay_out, price_rows
from tmtrain.checking.bound.units import Reuse, find_reuse
from tmtrain.checking.walk import Walk
from tmtrain.errors import InputError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans.plan import Certificate


def proved_bound(timeline: Timeline, walked: Walk, certificate: Certificate, *, machine: Machine) -> float:
    """Return the lower bound on `certificate.objective` for every plan of its class.

    Raises:
        InputError: cuts, edges or multipliers are not those of this step.
    """
    edges, cuts = certificate.bound.edges.tolist(), certificate.cuts.tolist()
    _check_ascending("edges", edges, last=walked.num_slices)
    if cuts:
        _check_ascending("cuts", cuts, last=None)
    prices = prices_of(certificate.objective, timeline, machine=machine)
    reuse = find_reuse(timeline, walked, read_blocks(timeline, walked, cuts)) if len(cuts) > 1 else Reuse()
    facts = gather_facts(timeline, walked, reuse, edges=edges, machine=machine, prices=prices)
    layout = lay_out(facts)
    y = Multipliers({name: values.tolist() for name, values in certificate.bound.multipliers.items()})
    rows = price_rows(facts, layout, y, write_budget_bytes=certificate.write_budget_bytes)
    away = sum(size for size, unit in zip(facts.unit_size, reuse.units, strict=True) if unit.end is not None)
    constant = (
        computing(prices, timeline, machine=machine)
        + prices.second * facts.compute_s
        + prices.byte_in * facts.unit_bytes * away
    )
    proved = constant + y.constant + columns_least(facts, layout, rows)
    return max(proved, 0.0)  # seconds, joules and bytes are never negative


def _check_ascending(name: str, slices: list[int], *, last: int | None) -> None:
    ascending = all(a < b for a, b in pairwise(slices))
    if not slices or slices[0] != 0 or not ascending or (last is not None and slices[-1] != last):
        raise InputError(f"the certificate's {name} do not ascend from slice 0 to the end of the step")
