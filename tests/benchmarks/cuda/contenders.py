"""What is timed against what: one attention call, forward or forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from models.kernels.lsh_options import LSHOptions
from models.variant import VARIANTS
from models.variants.lsh import LSHAttention

HASHES, CHUNK = 4, 64
FORWARD, BOTH = "forward", "forward_backward"
Step = Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The problem: causal attention of clustered vectors."""

    seq_len: int
    batch: int = 1
    heads: int = 8
    dim: int = 64
    dtype: str = "bfloat16"
    device: str = "cuda"

    def vectors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return vectors around one centre for every 64 tokens, values and a gradient."""
        generator = torch.Generator(self.device).manual_seed(self.seq_len)
        on = {"generator": generator, "device": self.device}
        places = (self.batch, self.heads, self.seq_len)
        centres = max(2, self.seq_len // 64)
        centre = torch.randn(self.heads, centres, self.dim, **on)
        of = torch.randint(centres, places, **on)
        near = centre[torch.arange(self.heads, device=self.device)[:, None], of]
        q, v, grad = (torch.randn(*places, self.dim, **on) for _ in "qvg")
        dtype = getattr(torch, self.dtype)
        q, v, grad = (near + 0.7 * q).to(dtype), v.to(dtype), grad.to(dtype)
        return q.requires_grad_(), v.requires_grad_(), grad


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to compute attention; `build` returns a function of (q, v)."""

    id: str
    attention: str
    impl: str
    build: Callable[[Shape], Callable[[Tensor, Tensor], Tensor]]
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dtype: str | None = None  # where it cannot be that of the others

    def step(self, shape: Shape, phase: str) -> Step:
        """Return one call, on the same inputs each time; gradients are returned, not kept.

        Raises:
            Unsupported: the mechanism cannot run here.
            ModuleNotFoundError: a package is missing.
        """
        attend = self.build(shape)
        q, v, grad = shape.vectors()
        if phase == FORWARD:
            return torch.no_grad()(lambda: attend(q, v))

        def both() -> Any:
            return torch.autograd.grad(attend(q, v), (q, v), grad)

        return both


def exact(backend: SDPBackend | None) -> Callable[[Shape], Callable[[Tensor, Tensor], Tensor]]:
    """Return a builder of exact attention by one backend; keys are the vectors."""

    def build(_shape: Shape) -> Callable[[Tensor, Tensor], Tensor]:
        def attend(q: Tensor, v: Tensor) -> Tensor:
            only: AbstractContextManager[Any]
            only = nullcontext() if backend is None else sdpa_kernel([backend])
            with only:
                return scaled_dot_product_attention(q, q, v, is_causal=True)

        return attend

    return build


def variant(name: str, impl: str, options: Mapping[str, Any]) -> Callable[[Shape], Any]:
    """Return a builder of a mechanism with shared vectors from the catalog."""

    def build(shape: Shape) -> Callable[[Tensor, Tensor], Tensor]:
        entry = VARIANTS.load(name)
        module = entry.module(entry.options(**options), causal=True, impl=impl, head_dim=shape.dim)
        module = module.to(shape.device).eval()
        return lambda q, v: module(q, q, v)

    return build


def huggingface(shape: Shape) -> Callable[[Tensor, Tensor], Tensor]:
    """Return LSH attention of transformers, with its two projections; v is not used."""
    from transformers import ReformerConfig  # noqa: PLC0415 - a package that may be missing
    from transformers.models.reformer.modeling_reformer import (  # noqa: PLC0415
        LSHSelfAttention,
    )

    config = ReformerConfig(
        attention_head_size=shape.dim,
        num_attention_heads=shape.heads,
        hidden_size=shape.dim * shape.heads,
        lsh_attn_chunk_length=CHUNK,
        lsh_num_chunks_before=1,
        lsh_num_chunks_after=0,
        num_hashes=HASHES,
        num_buckets=None,
        max_position_embeddings=shape.seq_len,
        is_decoder=True,
        hash_seed=0,
        lsh_attention_probs_dropout_prob=0.0,
    )
    module = LSHSelfAttention(config).to(shape.device, getattr(torch, shape.dtype)).eval()

    def attend(q: Tensor, v: Tensor) -> Tensor:
        hidden = (q + 0 * v).transpose(1, 2).flatten(2)
        out = module(hidden_states=hidden, num_hashes=HASHES).hidden_states
        return out.unflatten(2, (shape.heads, shape.dim)).transpose(1, 2)

    return attend


OURS = {"hashes": HASHES, "chunk": CHUNK, "logit_scale": "sqrt_d"}
PEERS = {"hashes": HASHES, "chunk": CHUNK}


def of_catalog(
    id: str,  # noqa: A002 - the record's word
    name: str,
    impl: str,
    options: Mapping[str, Any],
    dtype: str | None = None,
) -> Contender:
    """Return a contender that is a variant of the catalog."""
    return Contender(
        id=id,
        attention=name,
        impl=impl,
        options=options,
        dtype=dtype,
        build=variant(name, impl, options),
    )


TRITON = of_catalog("lsh-triton", "lsh", "triton", OURS)
FLEX = of_catalog("lsh-flex", "lsh", "flex", OURS)
CHUNKED = of_catalog("lsh-chunked", "lsh", "chunked", OURS)
HUGGINGFACE = Contender(
    id="huggingface", attention="lsh_huggingface", impl="package", build=huggingface, options=PEERS
)
# Several causal rounds in half precision it gets wrong, so it is timed in float32.
LUCID = of_catalog("reformer-pytorch", "lsh_reformer_pytorch", "package", PEERS, dtype="float32")
SDPA = tuple(
    Contender(id=f"sdpa-{name}", attention="full", impl=name, build=exact(backend))
    for name, backend in {
        "flash": SDPBackend.FLASH_ATTENTION,
        "cudnn": SDPBackend.CUDNN_ATTENTION,
        "efficient": SDPBackend.EFFICIENT_ATTENTION,
    }.items()
)
# Where there is no device: PyTorch's own choice.
SDPA_ANY = Contender(id="sdpa-any", attention="full", impl="sdpa", build=exact(None))


def planning(shape: Shape) -> Step:
    """Return the hash, the sort and its inverse alone."""
    module = LSHAttention(
        LSHOptions(hashes=HASHES, chunk=CHUNK), causal=True, impl="triton", head_dim=shape.dim
    )
    q, _, _ = shape.vectors()
    return torch.no_grad()(lambda: module.plan(q))


def recall(shape: Shape, rows: int = 64) -> float:
    """Return the mass of exact shared-vector attention on keys that our rounds offer.

    A mean over heads and some rows. Without it a ratio of times says nothing: to meet fewer keys
    is always faster.
    """
    options = LSHOptions(hashes=HASHES, chunk=CHUNK)
    module = LSHAttention(options, causal=True, impl="triton", head_dim=shape.dim)
    q = shape.vectors()[0].detach()[:1]
    plan = module.plan(q)
    at = torch.linspace(1, shape.seq_len - 1, rows, device=q.device).long()
    keys = torch.arange(shape.seq_len, device=q.device)
    unit = torch.nn.functional.normalize(q.float(), dim=-1)
    scores = q[:, :, at].float() @ unit.mT / shape.dim**0.5
    mass = scores.masked_fill(keys >= at[:, None], -torch.inf).softmax(dim=-1)
    times = options.neighbours(shape.seq_len).times(plan, at.view(1, -1, 1), keys.view(1, 1, -1))
    return float((mass * (times.view_as(mass) > 0)).sum(dim=-1).mean())
