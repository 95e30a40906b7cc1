"""The files that SCALE-Sim reads, for those who run it: `array_speed.py` and the live tests."""

from pathlib import Path

RUN = "run"
"""Name of every run, and so of the folder that its reports are in."""
_CONFIG = """
[general]
run_name = run
[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
[architecture_presets]
ArrayHeight: {array_rows}
ArrayWidth: {array_cols}
IfmapSramSzkB: {sram_kb}
FilterSramSzkB: {sram_kb}
OfmapSramSzkB: {sram_kb}
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Bandwidth: 10
Dataflow: {dataflow}
ReadRequestBuffer: 64
WriteRequestBuffer: 64
[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 10
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 10
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2
[sparsity]
SparsitySupport: false
SparseRep: ellpack_block
OptimizedMapping: false
BlockSize: 8
RandomNumberGeneratorSeed: 40
"""


def write_files(
    folder: Path, *, array_rows: int | str, array_cols: int | str, dataflow: str, topology: str, sram_kb: int
) -> dict[str, str]:
    """Write what one run needs into `folder`; return the paths by the names that SCALE-Sim has for them.

    Args:
        folder: Is there.
        array_rows: Of the array.
        array_cols: Likewise.
        dataflow: "ws", "is" or "os".
        topology: Heading and the line of one layer.
        sram_kb: Of each of the three buffers.
    """
    config = _CONFIG.format(array_rows=array_rows, array_cols=array_cols, dataflow=dataflow, sram_kb=sram_kb)
    files = {"config": config, "topology": topology, "layout": "Layer,\n" + "layer, " + "1, " * 20 + "\n"}
    for name, text in files.items():
        (folder / name).write_text(text)
    return {name: str(folder / name) for name in files}
