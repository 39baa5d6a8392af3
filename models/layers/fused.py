"""The fused kernels of exact attention, each by its name: it runs, or it says why it does not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.optional import optional
from models.variant import Unsupported

# impl: PyTorch's backend, and whether it exists on a CPU
BACKENDS: Mapping[str, tuple[SDPBackend, bool]] = {
    "sdpa_math": (SDPBackend.MATH, True),
    "sdpa_flash": (SDPBackend.FLASH_ATTENTION, True),
    "sdpa_efficient": (SDPBackend.EFFICIENT_ATTENTION, False),
    "sdpa_cudnn": (SDPBackend.CUDNN_ATTENTION, False),
}
_REFUSED = ("No available kernel", "No viable backend")


@contextmanager
def only(impl: str, device: torch.device) -> Iterator[None]:
    """Let `scaled_dot_product_attention` take this backend and no other.

    Raises:
        Unsupported: the device, or the call inside, is none for it.
    """
    backend, on_cpu = BACKENDS[impl]
    if device.type != "cuda" and not on_cpu:
        raise Unsupported(f"{impl} needs CUDA")
    try:
        with sdpa_kernel(backend):
            yield
    except RuntimeError as error:
        if not any(words in str(error) for words in _REFUSED):
            raise
        raise Unsupported(f"{impl}: PyTorch has no such kernel for this call") from error


def flex(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return `flex_attention`, compiled; blocks above the diagonal are left out if causal.

    Raises:
        Unsupported: not on CUDA, where alone it is compiled with a backward; or with dropout.
    """
    if dropout:
        raise Unsupported("flex drops no weights: attention_dropout is 0 there")
    if not q.is_cuda:
        raise Unsupported("flex needs CUDA: on a CPU it has no fused backward")
    from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415 - it is slow

    mask = _triangle(create_block_mask, q.shape[2], q.device) if causal else None
    return _compiled_flex()(q, k, v, block_mask=mask, scale=scale)


@functools.lru_cache(maxsize=8)
def _triangle(create: Callable[..., Any], length: int, device: torch.device) -> Any:
    return create(lambda _b, _h, i, j: i >= j, None, None, length, length, device=device)


@functools.cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention  # noqa: PLC0415 - it is slow

    return torch.compile(flex_attention, dynamic=False)


def flash_attn(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the package flash-attn's attention (Dao 2023).

    Raises:
        Unsupported: it is not installed, or not for this device and precision.
    """
    package = optional("flash_attn", "flash-attn", "--no-build-isolation")
    if not q.is_cuda or q.dtype not in {torch.float16, torch.bfloat16}:
        raise Unsupported("flash_attn needs CUDA and float16 or bfloat16")
    out = package.flash_attn_func(
        *(x.transpose(1, 2) for x in (q, k, v)),
        dropout_p=dropout,
        softmax_scale=scale,
        causal=causal,
    )
    return out.transpose(1, 2)


def xformers(
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b h t d"],
    v: Float[Tensor, "b h t d"],
    *,
    causal: bool,
    scale: float,
    dropout: float,
) -> Float[Tensor, "b h t d"]:
    """Return the package xformers' memory-efficient attention.

    Raises:
        Unsupported: it is not installed (its releases pin a release of torch), or not on CUDA.
    """
    package = optional("xformers.ops", "xformers", "--no-deps")
    if not q.is_cuda:
        raise Unsupported("xformers needs CUDA")
    out = package.memory_efficient_attention(
        *(x.transpose(1, 2) for x in (q, k, v)),
        attn_bias=package.LowerTriangularMask() if causal else None,
        p=dropout,
        scale=scale,
    )
    return out.transpose(1, 2)


PACKAGED: Mapping[str, Callable[..., Tensor]] = {
    "flex": flex,
    "flash_attn": flash_attn,
    "xformers": xformers,
}
