"""Figures: the same bytes twice, true numbers, no id used twice, small whatever the length of the step."""

import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from tmtrain.reporting.example import example_result, example_section, example_sensitivity
from tmtrain.reporting.figures.components import gather, shown_components
from tmtrain.reporting.figures.memory import memory_figure
from tmtrain.reporting.figures.overlap import overlap_figure, transfer_rates
from tmtrain.reporting.figures.palette import component_colours, policy_colours
from tmtrain.reporting.figures.power import power_figure
from tmtrain.reporting.figures.rivals import rivals_figure
from tmtrain.reporting.figures.sensitivity import sensitivity_figure
from tmtrain.reporting.figures.tornado import tornado_figure
from tmtrain.reporting.section import Section
from tmtrain.reporting.tornado import swings
from tmtrain.simulation.power import power_over_time
from tmtrain.simulation.result import Series, Traffic

POLICIES = ("tmtrain", "g10", "lru", "paging", "all-fast")
COLOURS = policy_colours(POLICIES)
CASES = [case for case in example_sensitivity().cases if case.model == "made-up-small"]


def _rivals(section: Section | None = None) -> str:
    return rivals_figure(section or example_section(), colours=COLOURS)


def _memory() -> str:
    return memory_figure([example_result(policy) for policy in POLICIES], key="k")


def _overlap() -> str:
    return overlap_figure([example_result("tmtrain"), example_result("g10")], key="k")


def _sensitivity() -> str:
    return sensitivity_figure(CASES, key="k", colours=COLOURS)


def _power() -> str:
    results = [example_result("tmtrain"), example_result("g10")]
    return power_figure(results, components=shown_components(example_section().rows), key="k")


def _tornado() -> str:
    return tornado_figure(swings(CASES), key="k")


EVERY = pytest.mark.parametrize("draw", [_rivals, _memory, _overlap, _power, _sensitivity, _tornado])


def _texts(svg: str) -> list[str]:
    return [
        "".join(node.itertext()).strip()
        for node in ElementTree.fromstring(svg).iter()
        if node.tag.endswith("text")
    ]


@EVERY
def test_it_is_well_formed_deterministic_and_asks_for_nothing(draw: Callable[[], str]) -> None:
    svg = draw()
    assert svg == draw()
    ElementTree.fromstring(svg)
    assert not re.search(r'(href="|url\()(?!#)|@import|<image|<!DOCTYPE|<metadata', svg)


@EVERY
def test_every_reference_meets_one_id(draw: Callable[[], str]) -> None:
    svg = draw()
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) <= set(ids)


def test_two_sections_share_no_id() -> None:
    small, large = (memory_figure([example_result("lru")], key=key) for key in ("small", "large"))
    assert not set(re.findall(r'\bid="([^"]+)"', small)) & set(re.findall(r'\bid="([^"]+)"', large))


def test_rivals_names_every_policy_its_value_and_the_bounds() -> None:
    section = example_section()
    texts = _texts(_rivals(section))
    assert section.ours is not None
    bounds = section.ours.bounds
    assert {*POLICIES} <= set(texts)
    assert f"{section.ours.samples_per_j:.4f}" in texts
    assert f"lower bound {bounds.energy_j:.0f} J" in texts
    assert f"upper bound {section.ours.batch / bounds.energy_j:.4f}" in texts
    assert [text for text in texts if text in section.ours.energy_by_component_j] == list(
        section.ours.energy_by_component_j
    )


def test_many_components_are_gathered_without_losing_a_joule() -> None:
    row = example_section().rows[0]
    parts = {f"part {i}": 1.0 + i for i in range(20)}
    svg = _rivals(Section(rows=(replace(row, energy_by_component_j=parts, energy_j=sum(parts.values())),)))
    texts = _texts(svg)
    assert "other" in texts
    assert "part 19" in texts
    assert "part 0" not in texts


def test_power_says_what_is_drawn_on_average_and_at_most() -> None:
    result = example_result("tmtrain")
    power = power_over_time(result)
    (title,) = (text for text in _texts(_power()) if text.startswith("tmtrain:"))
    assert f"{power.average_w:.0f} W on average, {power.peak_w:.0f} W at most" in title
    assert set(shown_components(example_section().rows)) <= set(_texts(_power()))


def test_gathered_power_is_all_of_it() -> None:
    power = power_over_time(example_result("lru"), stretches=50)
    parts = gather(power.watts, shown=("static", "flash read", "no such component", "other"))
    assert list(parts) == ["static", "flash read", "no such component", "other"]
    assert sum(parts.values()) == pytest.approx(power.total_w)


def test_a_bar_is_cut_only_where_it_dwarfs_all_others_and_says_so() -> None:
    section = example_section()
    assert not any("bar cut" in text for text in _texts(_rivals(section)))
    slow = tuple(replace(row, step_time_s=99.0) if row.policy == "paging" else row for row in section.rows)
    assert [text for text in _texts(_rivals(Section(rows=slow))) if "bar cut" in text] == [
        "99.0 s (bar cut) »"
    ]


def test_a_name_with_markup_stays_text() -> None:
    rows = tuple(replace(row, model="<b>&$x$") for row in example_section().rows)
    ElementTree.fromstring(_rivals(Section(rows=rows)))
    result = replace(example_result("lru"), policy="<i>$a_b$ & co")
    assert any(text.startswith("<i>$a_b$ & co:") for text in _texts(memory_figure([result], key="k")))


def test_fifty_thousand_slices_stay_small() -> None:
    long = [example_result(policy, slices=50_000) for policy in ("tmtrain", "lru")]
    assert len(memory_figure(long, key="k")) < 300_000
    assert len(overlap_figure(long, key="k")) < 150_000
    assert len(power_figure(long, components=shown_components(example_section().rows), key="k")) < 300_000


def test_nothing_moves_and_nothing_resident_can_be_drawn() -> None:
    still = example_result("all-fast")
    assert "all-fast" in overlap_figure([still], key="k")
    empty = replace(still.series, resident_bytes=np.zeros_like(still.series.resident_bytes))
    assert "capacity" in memory_figure([replace(still, series=empty)], key="k")


def test_what_wraps_round_the_step_is_not_lost() -> None:
    """A transfer that began before the step shows at its end too: rate times time is all the bytes."""
    result = example_result("lru")
    one = Traffic(
        start_s=np.array([-0.2]),
        end_s=np.array([0.1]),
        is_write=np.array([False]),
        bytes=np.array([3_000_000]),
        extent=np.array([0], np.int32),
    )
    read, written = transfer_rates(replace(result, traffic=one))
    width = result.step_time_s / len(read)
    assert float(read.sum() * width) == pytest.approx(3_000_000)
    assert read[0] > 0
    assert read[-1] > 0
    assert not written.any()


def test_a_colour_never_changes_its_meaning() -> None:
    assert policy_colours(["lru", "tmtrain"])["tmtrain"] == policy_colours(["tmtrain", "lru"])["tmtrain"]
    assert len(set(policy_colours(f"p{i}" for i in range(10)).values())) == 10
    assert len(set(component_colours(f"c{i}" for i in range(9)).values())) == 9


def test_a_toy_is_consistent_with_itself() -> None:
    """The examples that the other tests lean on keep the promises of the Result."""
    for policy in POLICIES:
        result = example_result(policy)
        series: Series = result.series
        assert (series.resident_bytes.sum(axis=1) + series.in_flight_bytes <= result.fast_bytes).all()
        assert (series.stall_s >= 0).all()
        assert result.step_time_s == pytest.approx(result.ideal_step_time_s + result.stall_s)
