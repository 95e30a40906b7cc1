"""Every operator of torch has a formula, is known to be free, or is known to have neither; both readers say the same."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.support.calls import works_of
from tests.support.execution_traces import observed
from torch.nn import functional

from tmtrain.counting import NO_WORK, has_formula, is_free
from tmtrain.counting.formulas import FORMULAS
from tmtrain.importing.execution_traces.products import work_of_node
from tmtrain.importing.execution_traces.pytorch import read_pytorch_et

UNCOUNTED = """
_cholesky_solve_helper _compute_linear_combination _convolution_double_backward _convolution_mode
_cslt_sparse_mm _cslt_sparse_mm_search _dyn_quant_matmul_4bit _lstm_mps _lu_with_info _mixed_dtypes_linear
_mps_convolution _mps_convolution_transpose _scaled_dot_product_attention_math
_scaled_dot_product_attention_math_for_mps _sparse_addmm _sparse_mm _sparse_mm_reduce_impl
_sparse_mm_reduce_impl_backward _sparse_semi_structured_addmm _sparse_semi_structured_apply
_sparse_semi_structured_apply_dense _sparse_semi_structured_linear _sparse_semi_structured_mm
_sparse_sparse_matmul _spsolve _triton_multi_head_attention _triton_scaled_dot_attention
_weight_int4pack_mm_with_scales_and_zeros _wrapped_linear_prepack _wrapped_quantized_linear_prepacked
chain_matmul corrcoef cov det fbgemm_linear_fp16_weight fbgemm_linear_fp16_weight_fp32_activation
fbgemm_linear_int8_weight fbgemm_linear_int8_weight_fp32_activation fft_fft fft_fft2 fft_fftn fft_hfft
fft_hfft2 fft_hfftn fft_ifft fft_ifft2 fft_ifftn fft_ihfft fft_ihfft2 fft_ihfftn fft_irfft fft_irfft2
fft_irfftn fft_rfft fft_rfft2 fft_rfftn hspmm inner inverse istft linalg_cholesky linalg_cond linalg_det
linalg_eigh linalg_eigvals linalg_eigvalsh linalg_inv linalg_ldl_factor linalg_ldl_solve linalg_lstsq
linalg_lu_factor linalg_matrix_exp linalg_matrix_norm linalg_matrix_power linalg_matrix_rank linalg_multi_dot
linalg_norm linalg_pinv linalg_slogdet linalg_solve linalg_solve_ex linalg_svd linalg_svdvals linalg_tensorinv
linalg_tensorsolve logdet lstm_mps_backward lu_solve matrix_exp matrix_exp_backward matrix_power
mkldnn_linear_backward mkldnn_linear_backward_input mkldnn_linear_backward_weights mps_convolution_backward
mps_convolution_transpose_backward nuclear_norm orgqr ormqr pdist pinverse qr quantized_gru quantized_gru_cell
quantized_lstm quantized_lstm_cell quantized_rnn_relu_cell quantized_rnn_tanh_cell slogdet smm
sparse_sampled_addmm sspaddmm stft svd tensordot
"""
"""Those of torch that do more than a little for each element, without a formula: a summary names them."""


def operators_of_torch() -> dict[str, bool]:
    """Base names of all operators on tensors, and whether every overload is pointwise."""
    found: dict[str, bool] = {}
    for schema in torch._C._jit_get_all_schemas():
        space, _, base = schema.name.partition("::")
        if space != "aten" or "Tensor" not in str(schema) or base.startswith(("_test_", "_foobar")):
            continue
        try:
            overload = getattr(getattr(torch.ops.aten, base), schema.overload_name or "default")
            torch._C._dispatch_has_kernel_for_dispatch_key(overload.name(), "CPU")
        except (AttributeError, RuntimeError):  # of TorchScript alone
            continue
        found[base] = found.get(base, True) and torch.Tag.pointwise in overload.tags
    return found


def test_every_operator_of_torch_is_known() -> None:
    operators, uncounted = operators_of_torch(), frozenset(UNCOUNTED.split())
    kinds = {
        name: (
            has_formula(name),
            is_free(f"aten.{name}.default"),
            is_pointwise,
            name.removesuffix("_") in uncounted,
        )
        for name, is_pointwise in operators.items()
    }
    unknown = sorted(name for name, kind in kinds.items() if not any(kind))
    assert unknown == [], "give a formula, or enter in free_ops.txt or, if it does much, above"
    assert not [
        name for name, (counted, free, _, uncounted) in kinds.items() if counted + free + uncounted > 1
    ]


def test_formulas_are_of_operators_that_there_are() -> None:
    inductors = {
        "_linear_pointwise",
        "_mkl_linear",
        "_convolution_pointwise",
        "_convolution_transpose_pointwise",
    }
    assert set(FORMULAS) - inductors <= set(operators_of_torch())


LAYERS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "linear": (lambda: torch.nn.Linear(6, 5), (3, 6)),
    "linear without bias, batched": (lambda: torch.nn.Linear(6, 5, bias=False), (2, 3, 6)),
    "bilinear": (lambda: Twice(torch.nn.Bilinear(6, 6, 4)), (3, 6)),
    "grouped": (lambda: torch.nn.Conv2d(4, 6, 3, groups=2, stride=2, padding=1), (2, 4, 7, 7)),
    "depthwise": (lambda: torch.nn.Conv1d(6, 6, 3, groups=6, dilation=2), (2, 6, 9)),
    "frozen": (lambda: frozen(torch.nn.Conv3d(2, 3, 2)), (1, 2, 4, 4, 4)),
    "transposed": (lambda: torch.nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 5, 5)),
    "transposed, square, grouped": (lambda: torch.nn.ConvTranspose2d(4, 4, 3, groups=2), (2, 4, 5, 5)),
    "lstm": (lambda: First(torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True)), (7, 3, 4)),
    "gru": (lambda: First(torch.nn.GRU(4, 5)), (7, 3, 4)),
    "causal attention": (lambda: Attention(is_causal=True), (2, 3, 6, 8)),
    "attention": (lambda: Attention(), (2, 3, 6, 8)),
    "products": (lambda: Products(), (5, 5)),
}


class First(torch.nn.Module):
    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)[0]


class Twice(First):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, x)


class Attention(torch.nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(x, x, x, **self.options)


class Products(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = torch.baddbmm(torch.ones(1), x.expand(2, 5, 5), x.expand(2, 5, 5))
        return (rows.sum(0) @ x.sum(0)).sum() + torch.einsum("ij,jk->ik", x, x) + torch.cdist(x, x, p=1.0)


def frozen(layer: torch.nn.Module) -> torch.nn.Module:
    """No gradient of the weight: backward has a mask."""
    layer.weight.requires_grad_(False)
    return layer


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("is_first", [True, False])
def test_capture_and_import_count_the_same(name: str, is_first: bool, tmp_path: Path) -> None:
    make, shape = LAYERS[name]
    layer = make()

    def step() -> None:
        result = layer(torch.ones(shape, requires_grad=not is_first or not list(layer.parameters())))
        result.sum().backward()

    seen = Counter(works_of(step))
    assert sum(work.flops * count for (_, work), count in seen.items()) > 0
    path = tmp_path / "step.json"
    with observed(path):
        step()
    works = [(node.name.removeprefix("aten."), work_of_node(node)) for node in read_pytorch_et(path).nodes]
    assert Counter(pair for pair in works if pair[1] != NO_WORK) == seen
