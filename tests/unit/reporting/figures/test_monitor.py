"""The picture of the timing monitor."""

from dataclasses import replace

from tmtrain.reporting.figures.monitor import MonitorRun, Strike, monitor_figure

RUN = MonitorRun(
    title="a <model> & a machine",
    contenders=("static plan", "whole tensors", "perfect knowledge", "monitor"),
    stall_s=((9.0, 1.0, 1.0, 2.0), (9.0, 1.5, 1.5, 2.5), (9.0, 1.0, 1.0, 1.2), (9.0, 1.0, 1.0, 1.3)),
    strikes=(Strike(label="slow flash", first_step=3, last_step=3),),
)


def test_every_contender_and_disturbance_is_named_once() -> None:
    svg = monitor_figure([RUN], key="test")
    for name in (*RUN.contenders, "slow flash"):
        assert svg.count(f">{name}<") == 1
    assert "a &lt;model&gt; &amp; a machine" in svg


def test_the_same_runs_give_the_same_picture() -> None:
    assert monitor_figure([RUN, RUN], key="test") == monitor_figure([RUN, RUN], key="test")


def test_the_cold_first_step_does_not_set_the_scale() -> None:
    colder = replace(RUN, stall_s=tuple((1000.0, *stalls[1:]) for stalls in RUN.stall_s))
    assert monitor_figure([colder], key="test") == monitor_figure([RUN], key="test")
