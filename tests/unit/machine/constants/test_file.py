"""A user's machine file: what may be left out, and how everything that makes no sense is refused."""

from pathlib import Path

import pytest

from tmtrain.errors import InputError, MachineError
from tmtrain.machine import describe_machine, list_machines, load_machine, memory_cost_usd
from tmtrain.machine.constants.field import DEVICE_FIELDS, FIELDS

DOCUMENT = Path(__file__).parents[4] / "docs" / "machine-format.md"
COMPLETE = """
schema = 1
[compute]
weight_load = "serial"
num_arrays = 1
array_rows = 16
array_columns = 16
clock = "1 GHz"
fp32_passes = 1
vector_ops = "1 Top/s"
sram = "1 MiB"
static_power = "10 W"
matrix_energy = "1 pJ/flop"
vector_energy = "1 pJ/op"
sram_energy = "1 pJ/B"
[fast]
capacity = "1 GiB"
bandwidth = "100 GB/s"
efficiency = 0.9
latency = "100 ns"
energy = "5 pJ/bit"
background = "0.2 W/GB"
[slow]
capacity = "1 TB"
page = "4 KiB"
read_bandwidth = "2 GB/s"
write_bandwidth = { value = 1000, unit = "MB/s" }
read_latency = "80 us"
write_latency = "20 µs"
read_energy = "100 pJ/bit"
program_energy = "200 pJ/bit"
erase_energy = "0 pJ/bit"
idle_power = "5 W"
write_amplification = 1.5
endurance = "3000 cycles"
[link]
bandwidth = "4 GB/s"
energy = "4 pJ/bit"
[paging]
fault_latency = "45 us"
fault_batch = "50 pages"
[prices."2027"]
fast = "10 USD/GB"
slow = "0.1 USD/GB"
"""


# 2 channels x 2 dies x 2 planes x 62500 blocks x 2 MB are 1 TB raw; the channels carry 4 GB/s.
DEVICE = """
[slow.device]
channels = 2
dies_per_channel = 2
planes_per_die = 2
blocks_per_plane = 62500
block = "2000 kB"
page = "4 kB"
array_read = "4 us"
array_program = "10 us"
array_erase = "2 ms"
channel_bandwidth = "2 GB/s"
over_provisioning = 0.1
"""
OPTIONAL = {
    "compute.transcendental_share",
    "compute.reduction_share",
    "fast.stacks",
    "fast.loss_per_decade",
    "fast.full",
    "slow.shared_bandwidth",
    "slow.retention_factor",
}


def write(folder: Path, text: str) -> Path:
    file = folder / "mine.toml"
    file.write_text(text)
    return file


def refusal(folder: Path, text: str) -> str:
    """Return the message with which the file is refused; it names the file."""
    file = write(folder, text)
    with pytest.raises(MachineError) as caught:
        load_machine(file)
    message = str(caught.value)
    assert message.startswith(f"{file}: ")
    return message.removeprefix(f"{file}: ")


def test_a_complete_file_needs_no_source_and_fills_in_the_others(tmp_path: Path) -> None:
    machine = load_machine(write(tmp_path, COMPLETE))
    assert machine.name == "mine"
    assert (machine.compute.weight_load, machine.compute.dataflow) == ("serial", "weight")
    assert machine.slow.write_bandwidth_bytes_per_s == 1e9
    assert machine.slow.shared_bandwidth_bytes_per_s == pytest.approx(3e9)
    assert (machine.slow.retention_factor, machine.fast.stacks) == (1, 1)
    assert machine.slow.write_latency_s == pytest.approx(20e-6)


def test_a_path_may_be_given_as_text(tmp_path: Path) -> None:
    file = write(tmp_path, COMPLETE)
    assert load_machine(str(file)) == load_machine(file)


@pytest.mark.parametrize("path", sorted(set(FIELDS) - OPTIONAL))
def test_every_other_key_is_needed(tmp_path: Path, path: str) -> None:
    section, key = path.split(".")
    assert f"{path} is missing" in refusal(tmp_path, _without(COMPLETE, section=section, key=key))


def _without(text: str, *, section: str, key: str) -> str:
    kept: list[str] = []
    inside = ""
    for line in text.splitlines():
        inside = line.strip("[]") if line.startswith("[") else inside
        if not (inside == section and line.startswith(f"{key} ")):
            kept.append(line)
    return "\n".join(kept)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # unknown keys
        ("[link]", "[lnik]", "lnik is not a key of a machine file, did you mean 'link'?"),
        ("read_bandwidth", "read_bandwith", "slow.read_bandwith is not a key of a machine file"),
        ('slow = "0.1 USD/GB"', 'flash = "0.1 USD/GB"', "prices.2027.flash is not a key"),
        ('unit = "MB/s"', 'units = "MB/s"', "slow.write_bandwidth: Object contains unknown field `units`"),
        # missing
        ("schema = 1", "", "does not say its schema version, this release reads 1: write schema = 1"),
        ('weight_load = "serial"', "", "compute.weight_load is missing"),
        ('slow = "0.1 USD/GB"', "", "prices.2027.slow is missing"),
        ("{ value = 1000, unit", "{ unit", "slow.write_bandwidth: Object missing required field `value`"),
        # values
        ('"2 GB/s"', '"-2 GB/s"', "slow.read_bandwidth is -2 GB/s: it must be a finite number above 0"),
        ('"2 GB/s"', '"0 GB/s"', "slow.read_bandwidth is 0 GB/s: it must be a finite number above 0"),
        ("value = 1000", "value = nan", "slow.write_bandwidth is nan MB/s: it must be a finite number"),
        ("value = 1000", "value = inf", "slow.write_bandwidth is inf MB/s: it must be a finite number"),
        ('"2 GB/s"', '"1e308 GB/s"', "slow.read_bandwidth is 1e+308 GB/s: it must be a finite number"),
        ('"0 pJ/bit"', '"-1 pJ/bit"', "slow.erase_energy is -1 pJ/bit: it must be a finite number"),
        ("efficiency = 0.9", "efficiency = 1.1", "fast.efficiency is 1.1: it must be a finite number"),
        ("write_amplification = 1.5", "write_amplification = 0.9", "slow.write_amplification is 0.9: it"),
        ("num_arrays = 1", "num_arrays = 1.5", "compute.num_arrays is 1.5: it must be a whole number"),
        ('page = "4 KiB"', 'page = "4.5 B"', "slow.page is 4.5 B: it must be a whole number of bytes"),
        ("value = 1000", "value = 1000, range = [1, 2]", "slow.write_bandwidth is 1000, outside its own"),
        ("value = 1000", "value = 1000, range = [-1, 2000]", "slow.write_bandwidth is -1 MB/s: it must be"),
        ("num_arrays = 1", "num_arrays = 1e300", "compute.num_arrays is 1e+300: it must be a finite number"),
        ('sram = "1 MiB"', 'sram = "1e300 B"', "compute.sram is 1e+300 B: it must be a finite number"),
        ('sram = "1 MiB"', 'sram = "0.2 B"', "compute.sram is 0.2 B: it must be a finite number of"),
        # units
        ('"2 GB/s"', '"2 us"', "slow.read_bandwidth: 'us' is not a unit of data rate: write it for"),
        ('"2 GB/s"', '"2 gb/s"', "slow.read_bandwidth: 'gb/s' is not a unit of data rate"),
        ('"2 GB/s"', '"2 GB/s/s"', "slow.read_bandwidth: 'GB/s/s' is not a unit of data rate"),
        ('"2 GB/s"', "2", "slow.read_bandwidth: a data rate needs a unit: write it for example in GB/s"),
        ("fp32_passes = 1", 'fp32_passes = "1 W"', "compute.fp32_passes: this is a pure number, 'W'"),
        ('"1 pJ/op"', '"1 pJ/flop"', "compute.vector_energy: 'pJ/flop' is not a unit of energy per"),
        # types
        ('"2 GB/s"', "true", "slow.read_bandwidth: Expected `float`, got `bool` - at `slow.read_bandwidth"),
        ('"2 GB/s"', "[2]", "slow.read_bandwidth: Expected `object`, got `array`"),
        ('"2 GB/s"', '"fast"', "slow.read_bandwidth: 'fast' is not a number and a unit; write for example"),
        ("value = 1000", 'value = "1000"', "slow.write_bandwidth: Expected `float`, got `str`"),
        ('"serial"', '"eager"', "compute.weight_load is 'eager': write weight_load = "),
        ('"serial"', "1", "compute.weight_load is 1: write weight_load"),
        (
            '"serial"',
            '"serial"\ndataflow = "row"',
            "compute.dataflow is 'row': write dataflow = \"weight\" or",
        ),
        ("schema = 1", "schema = 2", "has schema version 2, this release reads 1"),
        ("schema = 1", 'schema = 1\nlink = "fast"', "not TOML"),
        ("schema = 1", "schema = 1\nname = 5", "Expected `str | null`, got `int`"),
        ("clock = ", "clock = = ", "not TOML"),
        ('[prices."2027"]', "[prices]", "prices.fast is not a section"),
        # contradictions
        ('"3000 cycles"', '"3000 cycles"\nshared_bandwidth = "1.5 GB/s"', "slow.shared_bandwidth is 1.5"),
        ('"3000 cycles"', '"3000 cycles"\nshared_bandwidth = "3.5 GB/s"', "slow.shared_bandwidth is 3.5"),
        ('page = "4 KiB"', 'page = "2 GiB"', "fast.capacity is 1073741824 B, less than one page"),
        (
            'page = "4 KiB"',
            'page = "16 KiB"',
            "slow.capacity is 1000000000000 B, not a whole number of pages "
            "(slow.page is 16384 B): the nearest below is 999999995904 B",
        ),
        (
            '"50 pages"',
            '"262145 pages"',
            "paging.fault_batch is 262145 pages of 4096 B, more than fast.capacity, which is 1073741824 B",
        ),
        (
            '"100 GB/s"',
            '"1.9 GB/s"',
            "slow.read_bandwidth and link.bandwidth let 2 GB/s pass, more than "
            "fast.bandwidth, which is 1.9 GB/s",
        ),
        ('"100 GB/s"', '"0 GB/s"', "fast.bandwidth is 0 GB/s: it must be a finite number above 0"),
        (
            'bandwidth = "4 GB/s"',
            'bandwidth = "-4 GB/s"',
            "link.bandwidth is -4 GB/s: it must be a finite number",
        ),
        ('bandwidth = "4 GB/s"', "bandwidth = 4", "link.bandwidth: a data rate needs a unit"),
        (
            'sram = "1 MiB"',
            'sram = "511 B"',
            "compute.sram is 511 B, but one tile of weights for 1 arrays of 16 x 16 "
            "(num_arrays, array_rows, array_columns) takes 512 B",
        ),
        (
            'sram = "1 MiB"',
            'sram = "2 GiB"',
            "compute.sram is 2147483648 B, more than fast.capacity, which is 1073741824 B",
        ),
        (
            "value = 1000",
            "value = 1000, range = [2000, 500]",
            "slow.write_bandwidth has the range [2000, 500]: write",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_path(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert COMPLETE.count(old) == 1
    assert said in refusal(tmp_path, COMPLETE.replace(old, new))


def test_the_parts_of_the_flash_may_be_given(tmp_path: Path) -> None:
    assert load_machine(write(tmp_path, COMPLETE)).device is None
    file = write(tmp_path, COMPLETE + DEVICE)
    device = load_machine(file).device
    assert device is not None
    assert (device.planes, device.raw_bytes, device.exported_bytes) == (8, 10**12, 0.9 * 10**12)
    assert {c.path for c in describe_machine(file)} >= set(DEVICE_FIELDS)


def test_a_capacity_is_that_of_the_parts_to_within_a_block_of_each_plane_or_what_they_export(
    tmp_path: Path,
) -> None:
    # A block of every plane is 16 MB; the host sees 900 GB.
    for capacity in ("1.000015 TB", "0.900015 TB"):
        load_machine(
            write(tmp_path, COMPLETE.replace('"1 TB"', f'"{capacity}"').replace("4 KiB", "1 kB") + DEVICE)
        )
    for capacity in ("1.000017 TB", "0.950 TB"):
        text = COMPLETE.replace('"1 TB"', f'"{capacity}"').replace("4 KiB", "1 kB") + DEVICE
        assert "= 1000000000000 B, 900000000000 B of them for the host: correct" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "channels = 2\n",
            "channels = 3\n",
            "slow.capacity is 1000000000000 B, but slow.device has 3 channels x 2 dies x "
            "2 planes x 62500 blocks x 2000000 B = 1500000000000 B",
        ),
        (
            '"2000 kB"',
            '"2001 kB"',
            "slow.device.block is 2001000 B, not a multiple of slow.device.page, which is 4000 B",
        ),
        (
            'channel_bandwidth = "2 GB/s"',
            'channel_bandwidth = "0.9 GB/s"',
            "slow.read_bandwidth is 2 GB/s, but the channels carry at most 1.8 GB/s (slow.device)",
        ),
        (
            'channel_bandwidth = "2 GB/s"',
            'channel_bandwidth = "1.2 GB/s"',
            "slow.shared_bandwidth is 3 GB/s, but the channels carry at most 2.4 GB/s (slow.device)",
        ),
        # 8 planes x 4 kB in 20 us are 1.6 GB/s; in 40 us 0.8 GB/s.
        (
            'array_read = "4 us"',
            'array_read = "20 us"',
            "slow.read_bandwidth is 2 GB/s, but the dies read at most 1.6",
        ),
        ('"10 us"', '"40 us"', "slow.write_bandwidth is 1 GB/s, but the dies write at most 0.8 GB/s"),
        ('"2 ms"', '"0 ms"', "slow.device.array_erase is 0 ms: it must be a finite number above 0"),
        ('"2 ms"', '"-2 ms"', "slow.device.array_erase is -2 ms: it must be a finite number above 0"),
        ('"2 ms"', "2", "slow.device.array_erase: a time needs a unit: write it for example in us"),
        ('"2 ms"', '"2 GB/s"', "slow.device.array_erase: 'GB/s' is not a unit of time"),
        (
            "planes_per_die = 2",
            "planes_per_die = 0",
            "slow.device.planes_per_die is 0: it must be a finite number of at",
        ),
        ("planes_per_die = 2", "", "slow.device.planes_per_die is missing"),
        (
            "over_provisioning = 0.1",
            "over_provisioning = 1",
            "slow.device.over_provisioning is 1: it must be a finite",
        ),
        ("over_provisioning = 0.1", "spare = 0.1", "slow.device.spare is not a key of a machine file"),
        (
            "channels = 2\n",
            'channels = 2\nsuspend = "on"\n',
            "slow.device.suspend is 'on': write suspend = \"off\"",
        ),
    ],
)
def test_parts_that_make_no_sense_are_refused_with_their_path(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert DEVICE.count(old) == 1
    text = COMPLETE.replace('page = "4 KiB"', 'page = "4 kB"') + DEVICE.replace(old, new)
    assert said in refusal(tmp_path, text)


def test_a_base_gives_its_parts_unless_they_are_said_to_be_unknown(tmp_path: Path) -> None:
    start = 'schema = 1\nbase = "v4-slc"\n[slow]\n'
    assert load_machine(write(tmp_path, start + "write_amplification = 1.1")).device is not None
    assert "slow.device has 16 channels" in refusal(tmp_path, start + 'capacity = "4.096 TB"')
    unknown = write(tmp_path, start + 'capacity = "4.096 TB"\ndevice = "unknown"')
    assert load_machine(unknown).device is None
    more = write(tmp_path, start + 'capacity = "4.096 TB"\n[slow.device]\ndies_per_channel = 16')
    assert load_machine(more).device is not None
    assert "slow.device is 5: write [slow.device] and its parts below" in refusal(
        tmp_path, start + "device = 5"
    )


def test_flash_faster_than_its_link_is_no_contradiction(tmp_path: Path) -> None:
    """Such as four drives behind one slot (a100-tlc5): the link decides what passes."""
    quick = COMPLETE.replace('"2 GB/s"', '"200 GB/s"')
    assert load_machine(write(tmp_path, quick)).read_bytes_per_s == 4e9


def test_prices_are_needed(tmp_path: Path) -> None:
    assert refusal(tmp_path, COMPLETE.split("[prices")[0]).startswith("prices is missing")


def test_a_base_gives_all_that_is_not_overridden(tmp_path: Path) -> None:
    slow, price = '[slow]\nread_bandwidth = "10 GB/s"\n', '[prices.2026-08]\nslow = "1 USD/GB"\n'
    text = f'schema = 1\nbase = "v4-slc"\n{slow}{price}'
    machine, base = load_machine(write(tmp_path, text)), load_machine("v4-slc")
    assert machine.slow.read_bandwidth_bytes_per_s == 10e9
    assert machine.slow.write_bandwidth_bytes_per_s == base.slow.write_bandwidth_bytes_per_s
    assert machine.compute == base.compute
    assert machine.description == "v4-slc with changed slow.read_bandwidth, prices.2026-08.slow"
    assert next(iter(machine.prices)) == "2026-08"
    assert machine.prices["2026-08"].fast_usd_per_byte == base.prices["2026-08"].fast_usd_per_byte
    rows = {constant.path: constant for constant in describe_machine(tmp_path / "mine.toml")}
    assert (rows["slow.read_bandwidth"].low, rows["slow.read_bandwidth"].source) == (None, "")
    assert rows["slow.write_bandwidth"].low == 3.2


def test_the_description_says_what_was_changed(tmp_path: Path) -> None:
    same = load_machine(write(tmp_path, 'schema = 1\nbase = "v4-slc"\nname = "twin"\n'))
    assert (same.name, same.description) == ("twin", load_machine("v4-slc").description)
    serial = load_machine(write(tmp_path, 'schema = 1\nbase = "v4-slc"\ncompute.weight_load = "serial"\n'))
    assert serial.description == "v4-slc with changed compute.weight_load"
    assert serial.compute.weight_load == "serial"


def test_an_override_must_agree_with_its_base(tmp_path: Path) -> None:
    text = 'schema = 1\nbase = "v4-slc"\n[slow]\nread_bandwidth = "50 GB/s"\n'
    assert "slow.shared_bandwidth is 34.6 GB/s, but reads alone reach 50" in refusal(tmp_path, text)


def test_an_unknown_base_is_refused(tmp_path: Path) -> None:
    assert "base: no machine is called 'v4-scl', did you mean 'v4-slc'?" in refusal(
        tmp_path, 'schema = 1\nbase = "v4-scl"\n'
    )


def test_an_unknown_preset_is_refused_with_a_hint_and_the_list() -> None:
    with pytest.raises(MachineError, match="no machine is called 'v4slc', did you mean 'v4-slc'") as caught:
        load_machine("v4slc")
    assert all(name in str(caught.value) for name in list_machines())


def test_a_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        load_machine(tmp_path / "absent.toml")
    with pytest.raises(MachineError, match="Is a directory"):
        load_machine(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MachineError, match="UTF-8"):
        load_machine(tmp_path / "binary.toml")


def test_a_preset_wins_over_a_file_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "v4-slc").write_text("not a machine")
    monkeypatch.chdir(tmp_path)
    assert load_machine("v4-slc").name == "v4-slc"


def test_an_unknown_price_date_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"no prices of '2025Q4', did you mean '2025Q3'\?; there are: 2025Q3, 2026"
    ):
        memory_cost_usd(load_machine("v4-slc"), fast_bytes=1, slow_bytes=1, price="2025Q4")


def test_the_documents_example_loads(tmp_path: Path) -> None:
    machine = load_machine(write(tmp_path, DOCUMENT.read_text().split("```toml")[1].split("```")[0]))
    assert machine.shared_bytes_per_s == pytest.approx(24e9)


def test_the_document_names_every_key() -> None:
    document = DOCUMENT.read_text()
    for field in FIELDS.values():
        section = document.split(f"### `[{field.section}]`")[1].split("###")[0]
        assert f"`{field.key}`" in section, field.path
    section = document.split("### `[slow.device]`")[1].split("###")[0]
    for field in DEVICE_FIELDS.values():
        assert f"`{field.key}`" in section, field.path
