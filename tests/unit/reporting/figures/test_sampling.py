"""Fewer points, the same picture: extremes stay, totals stay."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmtrain.reporting.figures.sampling import keep_extremes, mean_rate


def test_a_long_series_keeps_its_spikes() -> None:
    rng = np.random.default_rng(1)
    columns = rng.integers(0, 1000, (50_000, 3))
    columns[31_234, 1], columns[777, 2] = 10**6, -(10**6)
    kept = keep_extremes(np.arange(50_000.0), columns, max_points=1500)
    assert len(kept) <= 1500
    assert {31_234, 777} <= set(kept.tolist())
    assert (np.diff(kept) > 0).all()


def test_a_smooth_series_uses_the_points_it_may() -> None:
    wave = (1e6 * np.sin(np.linspace(0, 6, 50_000))).astype(np.int64)
    kept = keep_extremes(np.arange(50_000.0), np.column_stack([wave] * 7), max_points=1500)
    assert 700 < len(kept) <= 1500


@given(
    st.lists(st.integers(-50, 50), min_size=1, max_size=300),
    st.integers(4, 40),
)
def test_the_extremes_of_the_whole_are_never_lost(values: list[int], points: int) -> None:
    column = np.array(values)[:, None]
    kept = keep_extremes(np.arange(float(len(values))), column, max_points=points)
    assert column[kept].min() == column.min()
    assert column[kept].max() == column.max()
    assert len(kept) <= points


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1e12)), min_size=0, max_size=40))
def test_the_mean_rate_keeps_the_total(rows: list[tuple[float, float, float]]) -> None:
    start = np.array([min(a, b) for a, b, _ in rows])
    end = np.array([max(a, b) for a, b, _ in rows])
    amount = np.array([size for *_, size in rows])
    edges = np.linspace(0, 1.001, 38)
    rate = mean_rate(start, end=end, amount=amount, edges=edges)
    assert float((rate * np.diff(edges)).sum()) == pytest.approx(float(amount.sum()), rel=1e-6, abs=1e-3)


def test_the_mean_rate_of_one_bin_is_its_overlap() -> None:
    at = np.array
    rate = mean_rate(
        at([0.0, 0.5]), end=at([1.0, 0.5]), amount=at([10.0, 3.0]), edges=at([0.0, 0.25, 0.75, 1.0])
    )
    assert rate == pytest.approx([10.0, 10.0 + 6.0, 10.0])
