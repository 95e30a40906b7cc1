"""The scan of Mamba-2, which keeps what its kernel keeps.

Note [Scans as kernels keep them]: training runs one kernel of mamba_ssm for the scan. It keeps its inputs and computes
the rest again in backward (Dao and Gu, "Transformers are SSMs", 2024; `mamba_ssm/ops/triton/ssd_combined.py`). Without
it transformers scans in single operators and would keep all they make, several times as much as the rest of the layer.
So the scan is recomputed here. Its single operators remain, and with them more time than the kernel takes.
"""

import functools
from collections.abc import Generator
from contextlib import contextmanager

from torch.utils.checkpoint import checkpoint
from transformers.models.mamba2 import modeling_mamba2


@contextmanager
def recomputed_scans() -> Generator[None]:
    """Recompute scans in backward instead of keeping their insides."""
    plain = modeling_mamba2.mamba2_chunk_scan
    modeling_mamba2.mamba2_chunk_scan = functools.partial(checkpoint, plain, use_reentrant=False)
    try:
        yield
    finally:
        modeling_mamba2.mamba2_chunk_scan = plain
