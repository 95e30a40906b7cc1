"""Classes of vector operators: what they do per element decides how fast the vector unit is at it.

========================  =================================================  ==================================
class                     operators                                          rate
========================  =================================================  ==================================
arithmetic                everything that is not below                       ``compute.vector_ops``
transcendental            exponentials, roots, activations made of them      times ``transcendental_share``
reduction                 sums, norms and their gradients                    times ``reduction_share``
copy                      moves or fills, no arithmetic                      that of fast memory alone
========================  =================================================  ==================================

The class changes seconds, not joules: each operation costs ``compute.vector_energy``. Known limitations: the trace carries
no scalar arguments, so a power counts as the multiplications that a small whole exponent is; division by a number and by a
tensor are alike.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.loops import base_name, names_in
from tmtrain.machine import Compute


class VectorClass(IntEnum):
    """What an operator without matrix product does per element."""

    ARITHMETIC = 0
    TRANSCENDENTAL = 1
    REDUCTION = 2
    COPY = 3


_MEMBERS: dict[VectorClass, frozenset[str]] = {
    VectorClass.TRANSCENDENTAL: names_in(
        "exp exp2 expm1 log log2 log10 log1p logsumexp sqrt rsqrt reciprocal addcdiv sin cos tan tanh erf erfc",
        "sigmoid log_sigmoid_forward gelu gelu_backward silu silu_backward mish",
        "softplus softplus_backward elu elu_backward hardswish",
        "_softmax _safe_softmax _log_softmax _log_softmax_backward_data cross_entropy cross_entropy_backward",
        "_fused_adam _fused_adamw",
    ),
    VectorClass.REDUCTION: names_in(
        "sum mean prod amax amin max min argmax argmin var var_mean std norm linalg_vector_norm cumsum",
        "_softmax_backward_data native_layer_norm native_layer_norm_backward",
        "_fused_rms_norm _fused_rms_norm_backward native_group_norm native_group_norm_backward",
        "native_batch_norm native_batch_norm_backward _batch_norm_with_update batch_norm_backward",
        "_native_batch_norm_legit _native_batch_norm_legit_functional",
        "cudnn_batch_norm cudnn_batch_norm_backward",
        "nll_loss_forward mse_loss max_pool2d_with_indices _adaptive_avg_pool2d avg_pool2d",
        "embedding_dense_backward",
    ),
    VectorClass.COPY: names_in(
        "copy clone _to_copy cat stack fill zero zeros zeros_like new_zeros ones ones_like new_ones full full_like",
        "slice_backward select_backward constant_pad_nd embedding gather index index_select roll repeat",
        "arange scalar_tensor lift_fresh _local_scalar_dense",
    ),
}
_CLASS_OF = {name: member for member, names in _MEMBERS.items() for name in names}


def vector_class(qualified: str) -> VectorClass:
    """Return the class of an operator; those in place and over lists of tensors are in the class of the plain one.

    >>> vector_class("aten._foreach_sqrt.default").name, vector_class("aten.add_.Tensor").name
    ('TRANSCENDENTAL', 'ARITHMETIC')
    """
    name = base_name(qualified)
    plain = name.removeprefix("_foreach_").removesuffix("_")
    return _CLASS_OF.get(plain, VectorClass.ARITHMETIC)


def vector_ops_per_s(classes: NDArray[np.int8], *, compute: Compute) -> NDArray[np.float64]:
    """Return the rate of the vector unit at each class; infinite for copies, which take none of its time."""
    shares = {
        VectorClass.ARITHMETIC: 1.0,
        VectorClass.TRANSCENDENTAL: compute.transcendental_share,
        VectorClass.REDUCTION: compute.reduction_share,
        VectorClass.COPY: np.inf,
    }
    return compute.vector_ops_per_s * np.array([shares[member] for member in VectorClass])[classes]
