"""The smallest workload in the form of the G10 artifact, written by hand.

Four kernels at 1 GHz, pages of 4096 bytes::

    0 MatMul_Forward   reads input 0 and weight 1, makes activation 2     forward    1000 cycles
    1 Loss             reads activation 2, makes its gradient 3           loss        200
    2 MatMul_Backward  reads 3 and input 0, makes the weight gradient 4   backward   3000
    3 Apply_Grad       reads weight 1 and 4, writes weight 1              update      400
"""

import json
from pathlib import Path

TENSORS = """\
tensor_id,kind,role,bytes,raw_bytes,start_page,first_kernel,last_kernel,death_kernel,num_uses,op_id,op_type
0,intermediate,net_input,8192,8000,4,0,2,3,2,9,MatMul
1,weight,weight,16384,16384,0,0,3,-1,2,9,MatMul
2,intermediate,activation,12288,12288,6,0,1,2,2,9,MatMul
3,intermediate,loss_grad,12288,12288,9,1,2,3,2,9,MatMul
4,intermediate,grad_weight,16384,16384,12,2,3,4,2,9,MatMul
"""
KERNELS = """\
kernel_id,type,phase,op_id,exec_cycles,inputpf_cycles,pf_cycles,inputs,outputs,workspace
0,MatMul_Forward,forward,9,1000,1500,2000,1 0,2,
1,Loss,loss,9,200,300,400,2,3,
2,MatMul_Backward,backward,9,3000,3500,4000,3 0,4,
3,Apply_Grad,update,9,400,500,600,1 4,1,
"""
MACHINE = {
    "workload": {"model": "one-layer", "batch": 2, "kernels": 4, "tensors": 5, "dtype_bytes": 4},
    "gpu": {"clock_hz": 1_000_000_000, "memory_bytes": 1 << 20},
    "page_bytes": 4096,
    "host": {"memory_bytes": 1 << 22},
    "links": {"gpu_pcie_bytes_per_s": 1e9, "ssd_bytes_per_s": 1e8},
}


def write_g10(folder: Path) -> Path:
    """Write the workload to `folder` and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tensors.csv").write_text(TENSORS)
    (folder / "kernels.csv").write_text(KERNELS)
    (folder / "machine.json").write_text(json.dumps(MACHINE))
    return folder
