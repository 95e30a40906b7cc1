"""The placement programme written down in two other ways: every interval in full, and as a flow."""

import networkx as nx
import numpy as np
from scipy.optimize import linprog

from tests.support.gaps import WalkedGap, lacking, walk_gaps
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective


def epochs_of(gaps: list[WalkedGap]) -> list[list[int]]:
    """Group the dirty gaps by the write that made their content."""
    groups: dict[tuple[int, int], list[int]] = {}
    for g, gap in enumerate(gaps):
        if gap.made_by is not None:
            groups.setdefault((gap.extent, gap.made_by), []).append(g)
    return list(groups.values())


def dense_optimum(timeline: Timeline, *, machine: Machine, objective: Objective) -> float:
    """Solve the programme with one row per slice over all gaps that contain it, by HiGHS' interior point method."""
    gaps = walk_gaps(timeline)
    epochs = epochs_of(gaps)
    G, E, T = len(gaps), len(epochs), len(timeline.slices)
    page, width = timeline.page_bytes, G + E + 1
    rows, limits = np.zeros((T, width)), -lacking(timeline, gaps).astype(float)
    for g, gap in enumerate(gaps):
        rows[list(gap.inside), g] = -1.0
    dirty = np.zeros((sum(len(e) for e in epochs), width))
    for row, (e, g) in enumerate((e, g) for e, members in enumerate(epochs) for g in members):
        dirty[row, g], dirty[row, G + e] = 1.0, -1.0
    channels = np.zeros((3, width))
    channels[0, :G] = page / machine.read_bytes_per_s
    channels[1, G : G + E] = page / machine.write_bytes_per_s
    channels[2, : G + E] = page / machine.shared_bytes_per_s
    channels[:, -1] = -1.0
    cost = np.r_[
        np.full(G, page * objective.per_byte_in),
        np.full(E, page * objective.per_byte_out),
        objective.per_second,
    ]
    answer = linprog(
        cost,
        A_ub=np.vstack([rows, dirty, channels]),
        b_ub=np.r_[limits, np.zeros(len(dirty) + 3)],
        bounds=[(0, gap.pages) for gap in gaps] + [(0, None)] * E + [(timeline.compute_s, None)],
        method="highs-ipm",
    )
    assert answer.status == 0, answer.message
    return float(answer.fun) + objective.constant


def flow_optimum(timeline: Timeline, *, cost_per_page: int) -> int:
    """Solve a step in which every gap costs the same and none wraps, as a min-cost circulation.

    Node t is the moment before slice t. An arc t -> t+1 carries the pages absent while slice t runs, at least those
    that it lacks. An arc from a gap's return to its leaving closes the circle: so many pages of it move.
    """
    gaps = walk_gaps(timeline)
    assert all(gap.start < gap.end for gap in gaps), "a gap wraps round the end of the step"
    graph = nx.MultiDiGraph()
    T = len(timeline.slices)
    graph.add_nodes_from(range(T + 1), demand=0)
    for t, lacks in enumerate(np.maximum(lacking(timeline, gaps), 0).tolist()):
        graph.add_edge(t, t + 1, weight=0)
        graph.nodes[t]["demand"] += lacks  # a lower bound: that much is sent ahead of time
        graph.nodes[t + 1]["demand"] -= lacks
    for gap in gaps:
        graph.add_edge(gap.end, gap.start + 1, capacity=gap.pages, weight=cost_per_page)
    return int(nx.min_cost_flow_cost(graph))


def grid_optimum(timeline: Timeline, *, cost_in: float, cost_out: float) -> float:
    """Try every whole number of pages in every gap that matters; exponential in the gaps."""
    gaps = walk_gaps(timeline)
    lacks = lacking(timeline, gaps)
    relevant = [gap for gap in gaps if any(lacks[t] > 0 for t in gap.inside)]
    if not relevant:
        return 0.0
    choice = np.indices([gap.pages + 1 for gap in relevant]).reshape(len(relevant), -1)
    feasible = np.ones(choice.shape[1], bool)
    for t, missing in enumerate(lacks.tolist()):
        absent = sum((choice[g] for g, gap in enumerate(relevant) if t in gap.inside), np.zeros(1, np.int64))
        feasible &= absent >= missing
    written = sum(
        (choice[members].max(axis=0) for members in epochs_of(relevant)), np.zeros(choice.shape[1], np.int64)
    )
    return float((cost_in * choice.sum(axis=0) + cost_out * written)[feasible].min())
