"""The lower bound, computed from prices alone.

Note [Weak duality]
    Take any prices y_t >= 0 per page of fast memory and y_r, y_w, y_s >= 0 per second of the read, write and shared
    channel, with y_r + y_w + y_s <= C (the price of a second). Every policy must leave over_t pages absent at t, move
    x and write w pages through the channels, and take tau >= compute seconds. Adding each constraint times its price
    to the objective and minimising over every x, w, tau separately gives a number that no policy can go below:

        bound =  constant + (C - y_r - y_w - y_s) * compute
               + sum_t y_t over_t
               + sum_epochs s_e min(0, v + sum_g min(0, u - Y_g))        (epochs without write: v = 0)

    with u = c_in + (y_r / read rate + y_s / shared rate) per page, v = c_out + (y_w / write rate + y_s / shared rate)
    per page, Y_g the sum of y_t over the slices inside gap g. In an epoch all gaps have the same pages s_e, and the
    best response moves either all or none of them in each gap. Whoever found the prices, the bound holds; good prices
    make it tight. Nothing here looks at a plan.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.objective import Objective
from tmtrain.plan.problem import Problem
from tmtrain.plan.solve import Prices


def lower_bound(
    problem: Problem, prices: Prices, *, timeline: Timeline, machine: Machine, objective: Objective
) -> float:
    """Return the bound of Note [Weak duality] in the objective's unit.

    Prices that break their conditions (negative, or channels dearer than a second of the step) are first made valid,
    so the result is a bound whatever is passed in.
    """
    capacity, (read, write, shared) = _valid(prices, objective)
    page = timeline.page_bytes
    per_page_in = page * (
        objective.per_byte_in + read / machine.read_bytes_per_s + shared / machine.shared_bytes_per_s
    )
    per_page_out = page * (
        objective.per_byte_out + write / machine.write_bytes_per_s + shared / machine.shared_bytes_per_s
    )
    best_response = _best_response(problem, capacity, per_page_in=per_page_in, per_page_out=per_page_out)
    waiting = float(objective.per_second - read - write - shared) * timeline.compute_s
    return objective.constant + waiting + float(capacity @ problem.over_pages) + best_response


def _valid(prices: Prices, objective: Objective) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    channels = np.maximum([prices.read, prices.write, prices.shared], 0.0)
    total = float(channels.sum())
    if total > objective.per_second:
        channels = channels * (objective.per_second / total)
    return np.maximum(prices.capacity, 0.0), channels


def _best_response(
    problem: Problem, capacity: NDArray[np.float64], *, per_page_in: float, per_page_out: float
) -> float:
    gaps = problem.gaps
    saved = np.concatenate([[0.0], np.cumsum(capacity)])
    inside = saved[gaps.end] - saved[np.minimum(gaps.start + 1, problem.num_slices)]
    inside = inside + np.where(gaps.end <= gaps.start, saved[-1], 0.0)
    gain = np.minimum(0.0, per_page_in - inside)
    clean = gaps.epoch < 0
    per_epoch, pages = np.zeros(problem.num_epochs), np.zeros(problem.num_epochs)
    np.add.at(per_epoch, gaps.epoch[~clean], gain[~clean])
    pages[gaps.epoch[~clean]] = gaps.pages[~clean]
    written = np.minimum(0.0, per_page_out + per_epoch) @ pages
    return float(written + gain[clean] @ gaps.pages[clean])
