"""The picture of the timing monitor."""

from dataclasses import replace

from tmtrain.reporting.example import example_monitored
from tmtrain.reporting.figures.monitor import monitor_figure

RUN = replace(example_monitored(), model="a <model> & more")


def test_every_contender_and_disturbance_is_named_once() -> None:
    svg = monitor_figure([RUN], key="test")
    for name in (*(contender.name for contender in RUN.contenders), RUN.strikes[0].label):
        assert svg.count(f">{name}<") == 1
    assert "a &lt;model&gt; &amp; more" in svg


def test_the_same_runs_give_the_same_picture() -> None:
    assert monitor_figure([RUN, RUN], key="test") == monitor_figure([RUN, RUN], key="test")


def test_the_legend_names_a_contender_that_only_one_run_has() -> None:
    static_only = replace(RUN, contenders=RUN.contenders[:1])
    assert ">perfect knowledge<" in monitor_figure([static_only, RUN], key="test")
    assert ">perfect knowledge<" not in monitor_figure([static_only], key="test")


def test_steps_that_never_wait_are_drawn() -> None:
    never = [
        replace(contender, steps=tuple(replace(step, stall_s=0.0) for step in contender.steps))
        for contender in RUN.contenders
    ]
    assert ">monitor<" in monitor_figure([replace(RUN, contenders=tuple(never))], key="test")
