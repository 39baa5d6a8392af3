"""The impl `triton` of LSH attention: fused kernels on CUDA. See `lsh_dispatch` for the contract.

Per round one kernel reads vectors and values by the sorted index, normalises keys in registers and
writes the round's sums; a second adds the rounds. The backward is exact and has no atomic
additions. The interpreter of Triton (`TRITON_INTERPRET=1` before torch or triton is imported) runs
the same kernels on a CPU, slowly, to check them.
"""

from __future__ import annotations

import importlib.util
import os

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels.lsh_dispatch import Call
from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan

CHUNKS, DIMS = (32, 64, 128), (32, 64, 128)  # for which tiles were chosen and checked
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def missing() -> str | None:
    """Return what this machine lacks: triton, or a CUDA device where nobody interprets."""
    if importlib.util.find_spec("triton") is None:
        return "needs the package triton"
    if not (interpreted() or torch.cuda.is_available()):
        return "needs a CUDA device"
    return None


def refuse(call: Call, options: LSHOptions) -> str | None:
    """Return why the kernels cannot compute a call: its device, types, sizes."""
    if call.device != "cuda" and not interpreted():
        return f"the device is {call.device}; allowed: cuda"
    for name, value, allowed in (
        ("head_dim", call.head_dim, DIMS),
        ("chunk", options.chunk, CHUNKS),
        ("dtype", call.dtype, DTYPES),
    ):
        if value not in allowed:
            return f"{name} is {value}; allowed: {', '.join(map(str, allowed))}"
    if interpreted() and call.dtype == torch.bfloat16:
        return "dtype is torch.bfloat16, whose products Triton's interpreter gets wrong"
    return None


def attend(
    q: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    plan: LSHPlan,
    mask: Bool[Tensor, "b t"] | None,
    options: LSHOptions,
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the attention; float32 is multiplied as float32, not as TF32."""
    kernels = importlib.import_module("models.kernels.triton_attention")  # imports triton
    return kernels.attend(
        q, v.to(q.dtype), plan, mask, options, causal=causal, scale=scale, dropout=dropout
    ).to(v.dtype)


def interpreted() -> bool:
    """Tell whether Triton interprets kernels in this process."""
    return os.environ.get("TRITON_INTERPRET") == "1"
