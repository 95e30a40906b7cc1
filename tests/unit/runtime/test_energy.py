"""Joules of the processors: what counters say, what they do not, and none where there are none."""

import errno
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow

from tmtrain import train
from tmtrain.cli.summaries.train import RunSummary
from tmtrain.runtime.host.energy import Counted, EnergyMeter
from tmtrain.testing import counters_under

MIB = 1 << 20
RANGE_UJ = 262_143_328_850


def _zone(folder: Path, name: str, what: str, microjoules: int, range_uj: int = RANGE_UJ) -> Path:
    """Make a power zone, and return the file of its counter."""
    zone = folder / name
    zone.mkdir(parents=True)
    (zone / "name").write_text(f"{what}\n")
    (zone / "max_energy_range_uj").write_text(f"{range_uj}\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    return zone / "energy_uj"


def test_packages_are_added_up_and_their_parts_and_the_platform_are_not(tmp_path: Path) -> None:
    first = _zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    part = _zone(tmp_path, "intel-rapl:0:0", "dram", 0)
    second = _zone(tmp_path, "intel-rapl:1", "package-1", 7)
    platform = _zone(tmp_path, "intel-rapl:2", "psys", 0)
    twice = _zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)  # the same one, seen another way
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    first.write_text("3500000\n")
    second.write_text("1000007\n")
    for other in (part, platform, twice):
        other.write_text("9000000\n")
    assert meter.joules_since(before) == pytest.approx(3.5)
    assert meter.reason == ""


def test_a_counter_that_began_anew_has_gone_round(tmp_path: Path) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 2_000_000)
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    counter.write_text("1000000\n")
    assert meter.joules_since(before) == pytest.approx(3)


def test_nothing_is_said_after_so_long_that_a_counter_may_have_gone_round_twice(tmp_path: Path) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", 0, range_uj=10)  # 20 ns at 500 W
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    counter.write_text("5\n")
    assert meter.joules_since(before) is None
    assert "a counter may have gone round twice" in meter.reason
    meter.read()
    assert meter.reason == ""


def test_a_host_without_counters_has_no_number_and_says_so(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        meter = EnergyMeter(folder)
        assert meter.joules_since(meter.read()) is None
        assert meter.reason.startswith(f"{folder} has no RAPL counters")


def test_counters_that_go_away_give_no_number_and_the_reason(tmp_path: Path) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = EnergyMeter(tmp_path)
    before = meter.read()
    counter.unlink()
    counter.mkdir()  # not even root can read it
    assert meter.joules_since(before) is None
    assert meter.reason == f"{counter} cannot be read: Is a directory"
    late = EnergyMeter(tmp_path)
    assert late.read().microjoules == ()
    assert late.reason == meter.reason
    counter.rmdir()
    counter.write_text("7\n")
    assert meter.joules_since(late.read()) == 0
    nothing = Counted(at_s=0.0, microjoules=())
    assert meter.joules_since(nothing) is None
    assert meter.reason == "the counters could not be read at the beginning"


def test_who_may_not_read_the_counters_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = _zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def refused(file: Path) -> str:
        if file == counter:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return read(file)

    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", refused)  # tests may run as root, who may read anything
    meter = EnergyMeter(tmp_path)
    assert meter.joules_since(meter.read()) is None
    assert meter.reason.startswith(f"{counter} may be read by root only. `sudo chmod a+r ")


@pytest.mark.filterwarnings("ignore:steps run on demand")
@pytest.mark.parametrize("counts", rest_slow([True, False]))
def test_steps_have_joules_where_the_host_tells(counts: bool, tmp_path: Path) -> None:
    counter = _zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 0)
    model = torch.nn.Linear(8, 8)

    def step() -> None:
        counter.write_text(f"{int(counter.read_text()) + 2_500_000}\n")

    optimizer = torch.optim.SGD(model.parameters())
    with (
        counters_under(tmp_path / ("powercap" if counts else "nowhere")),
        train(model, optimizer, step, budget_bytes=MIB, flash=tmp_path) as training,
    ):
        for _ in range(4):
            training.step()
    assert [step.energy_j for step in training.result.steps] == [2.5 if counts else None] * 4
    summary = RunSummary(
        foreseen=None,
        measured=training.result,
        simulated_step_time_s=None,
        simulated_bytes_in=None,
        simulated_bytes_out=None,
        written_bytes_per_day=None,
        drive_life_s=None,
    )
    lines = dict(summary.lines())
    assert lines["energy"].startswith("2.50 J of the processors") if counts else "energy" not in lines
