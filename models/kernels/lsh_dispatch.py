"""Which impl computes LSH attention by a plan, and how an impl is plugged in.

An impl is a module of this folder that `MODULES` names. It is imported when it is first asked for,
and has three functions:

`missing() -> str | None`: what this machine lacks to run it at all, as "needs a CUDA device".

`refuse(call: Call, options: LSHOptions) -> str | None`: why it cannot compute this call, as
"head_dim is 80; allowed: 32, 64, 128". Nothing is computed, and no tensor is looked at.

`attend(q, v, plan, mask, options, *, causal, scale, dropout) -> out`: the attention.

* `q`, `v`: `[b, h, t, d]`, any strides; `q` holds the vectors that are query and key. The key is
  `unit_keys(q)`: `q_j / sqrt(|q_j|^2 + 1e-6 d)`; the score is `s_ij = scale q_i . k_j`, less
  `log n_ij` if `options.count_once`.
* `plan`: see `LSHPlan`. Its buckets decide only with `same_bucket` and `strict`.
* `mask`: `[b, t]`, true at tokens, or None. Whatever stands at padding is overwritten with zeros
  by the caller; it must be finite, and so must its gradient.
* who meets whom: `options.neighbours(t)`. The windows do not go over the ends, rounds or heads.
* `out`: `[b, h, t, d]` in the dtype of `v`: one softmax over the pairs of all rounds, so a key that
  n rounds offer weighs n times. A query that no round offers any key gets its own value, and the
  gradient of that value. Sums run in float32 at least.
* `dropout`: share of the weights `exp(s)` that leave the numerator and not the sum, the others
  scaled by `1 / (1 - dropout)`; drawn from torch's global generator of the device (`Replay` saves
  and restores it), and the backward sees the same draw.
* the backward is exact, once differentiable, and repeats bitwise. The plan has no gradient.

A named impl runs or raises `Unsupported`: nothing falls back. `choose` is what `impl: auto` means.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, cast, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from models.kernels.lsh_options import LSHOptions
from models.kernels.lsh_plan import LSHPlan
from models.unsupported import Unsupported

MODULES: Mapping[str, str] = MappingProxyType(
    {
        "chunked": "models.kernels.lsh_chunked",
        "compiled": "models.kernels.lsh_compiled",
        "triton": "models.kernels.lsh_triton",
        "flex": "models.kernels.lsh_flex",
    }
)
# What `auto` tries in turn, by type of device; the last one takes every call.
PREFERRED: Mapping[str, tuple[str, ...]] = MappingProxyType({"cuda": ("triton", "chunked")})
ELSEWHERE = ("chunked",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an impl must know of a call to say whether it can compute it."""

    device: str  # its type: "cpu", "cuda"
    dtype: torch.dtype  # of q
    sequences: int  # batch x heads
    seq_len: int
    head_dim: int
    causal: bool
    masked: bool
    dropout: float
    gradients: bool  # whether a backward may follow

    @classmethod
    def of(cls, q: Tensor, mask: Tensor | None, *, causal: bool, dropout: float) -> Call:
        """Describe a call."""
        return cls(
            device=q.device.type,
            dtype=q.dtype,
            sequences=q.shape[0] * q.shape[1],
            seq_len=q.shape[2],
            head_dim=q.shape[3],
            causal=causal,
            masked=mask is not None,
            dropout=dropout,
            gradients=torch.is_grad_enabled(),
        )


@runtime_checkable
class Impl(Protocol):
    """A module that computes LSH attention; the contract stands at the head of this file."""

    def missing(self) -> str | None:
        """Return what this machine lacks to run the impl, or None."""
        ...

    def refuse(self, call: Call, options: LSHOptions) -> str | None:
        """Return why the impl cannot compute this call, or None."""
        ...

    def attend(
        self,
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
        """Return the attention."""
        ...


def find(name: str) -> Impl:
    """Return an impl by name.

    Raises:
        Unsupported: this machine cannot run it.
    """
    impl = _module(name)
    reason = impl.missing()
    if reason is not None:
        raise Unsupported(f"{name}: {reason}")
    return impl


def runs_here(name: str) -> bool:
    """Tell whether this machine can run an impl at all."""
    return name not in MODULES or _module(name).missing() is None


def require(name: str, call: Call, options: LSHOptions) -> Impl:
    """Return an impl that computes the call.

    Raises:
        Unsupported: this machine cannot run it, or it cannot compute this call.
    """
    impl = find(name)
    reason = impl.refuse(call, options)
    if reason is not None:
        raise Unsupported(f"{name}: {reason}")
    return impl


def choose(call: Call, options: LSHOptions) -> str:
    """Return the impl that `auto` stands for: the first preferred one that computes the call."""
    names = PREFERRED.get(call.device, ELSEWHERE)
    for name in names[:-1]:
        impl = _module(name)
        if impl.missing() is None and impl.refuse(call, options) is None:
            return name
    return names[-1]


def _module(name: str) -> Impl:
    return cast("Impl", importlib.import_module(MODULES[name]))
