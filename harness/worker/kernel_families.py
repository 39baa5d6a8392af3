"""Families of operations and kernels by name, so that a profile tells where a step's time goes."""

from __future__ import annotations

import functools
import re

OTHER = "other"  # an operation or kernel that no rule names
UNATTRIBUTED = "unattributed"  # between operations: Python, an idle device
# Own time of autograd's functions: the Python inside them (a reversible stack walks back in one),
# the engine between operations, and what the profiler takes to note each of them (about 3 us).
AUTOGRAD = "autograd"
HASHING = "hashing"
OPTIMIZER = "optimizer"
SORT, GATHER_SCATTER = "sort", "gather_scatter"

# Regions of the models (`models.kernels.region`) and of PyTorch itself, by the beginning of their
# names: what runs inside belongs to them, whatever it is called.
REGIONS = {"hash": HASHING, "Optimizer.step#": OPTIMIZER, "Optimizer.zero_grad#": OPTIMIZER}

# Parts of lower-case names; the first family that has one wins. Operations of PyTorch come as
# `aten::bmm`, CUDA kernels as `ampere_sgemm_128x64_nn` or `void at::native::vectorized_...`.
_RULES = {
    "attention": (
        "scaled_dot_product flash_attn flash_attention flash_fwd flash_bwd flash:: fmha sdpa "
        "efficient_attention flex_attention tem_fused_flex attention_fwd attention_bwd "
        "attn_fwd attn_bwd attn_kernel"
    ),
    SORT: "sort radix topk bitonic",
    GATHER_SCATTER: (
        "gather scatter aten::index aten::take index_select index_put index_add index_copy "
        "index_elementwise index_kernel indexselect indexfunc take_along embedding"
    ),
    "norm": "layer_norm layernorm rms_norm rmsnorm group_norm batch_norm",
    # Attention in chunks has its softmax in parts: the maximum, the exponential.
    "softmax": "softmax logsumexp aten::exp aten::amax exp_kernel nll_loss cross_entropy",
    "matrix_product": (
        "::mm ::bmm ::mv ::dot addmm baddbmm matmul ::linear gemm gemv einsum cutlass cublas "
        "xmma wgmma nvjet splitk mkldnn"
    ),
    OPTIMIZER: "adam multi_tensor_apply multitensor _foreach",
    "copy": (
        "copy memcpy memset ::cat catarray ::clone ::contiguous ::to ::stack constant_pad ::pad "
        "::fill ::zero fillfunctor ::zeros ::ones ::full ::repeat ::roll ::flip"
    ),
    "views_allocation": (
        "::view as_strided ::empty ::reshape ::resize ::expand ::slice ::transpose ::permute ::t "
        "::mt ::select squeeze detach ::alias flatten ::split ::chunk ::narrow ::unbind "
        "::movedim ::swapaxes ::diagonal ::set_ ::result_type ::lift_fresh ::item "
        "_local_scalar_dense unsafe_view ::numel ::size ::stride"
    ),
    "random": "::rand ::normal dropout bernoulli philox distribution",
    "reduction": (
        "::sum ::mean ::max ::min argmax argmin reduce_kernel ::any ::all cumsum cumprod ::norm "
        "::prod ::std ::var"
    ),
    "elementwise": (
        "elementwise pointwise vectorized ::add ::sub ::rsub ::mul ::div ::neg ::gelu ::relu "
        "::silu ::elu ::softplus ::sigmoid ::tanh threshold masked_fill ::where ::ge ::gt ::le "
        "::lt ::eq ::ne ::maximum ::minimum bitwise logical ::__and__ ::__or__ ::__xor__ ::__i "
        "::__rshift__ ::__lshift__ ::sqrt ::rsqrt ::pow ::square ::reciprocal ::clamp ::log "
        "::arange ::lerp ::addcmul ::addcdiv ::floor ::ceil ::round ::remainder ::abs ::sign "
        "::sin ::cos ::isfinite ::isnan ::tri ::special ::erf triton_poi triton_per triton_red"
    ),
}
_PARTS = {family: tuple(parts.split()) for family, parts in _RULES.items()}
FAMILIES = (*_RULES, HASHING, AUTOGRAD, OTHER, UNATTRIBUTED)
# A name of an operation that ends after the part: `aten::t` is no `aten::tanh`.
_WHOLE = frozenset({"::t", "::to", "::mt", "::mm", "::mv", "::bmm", "::add", "::dot", "::ge"})


@functools.cache
def of_name(name: str) -> str:
    """Return the family of an operation or a kernel; `other` where no rule has its name."""
    lowered = name.lower()
    for family, parts in _PARTS.items():
        if any(_has(lowered, part) for part in parts):
            return family
    return OTHER


def of_region(name: str) -> str | None:
    """Return the family of all that runs inside a region, or None where it is not one of ours."""
    return next((family for start, family in REGIONS.items() if name.startswith(start)), None)


def _has(name: str, part: str) -> bool:
    if part in _WHOLE:
        return re.search(rf"{part}_?(\W|$)", name) is not None
    return part in name
