"""LSH attention of the package reformer-pytorch, as a peer of ours. O(N log N)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize, pad

from models.kernels.circular import filled_length, key_mask
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.lsh_hash import nearest_buckets
from models.kernels.lsh_plan import LSHPlan, sorted_by
from models.kernels.padding import zero_padding
from models.layers.replay import decide
from models.optional import optional
from models.variant import Attention, Cost, Shape, Unsupported, Variant

PACKAGES = (  # those of its last release's time: later ones pull in more packages
    "reformer-pytorch==1.4.4",
    "local-attention==1.8.6",
    "axial-positional-embedding==0.2.1",
    "product-key-memory==0.1.11",
)
NEVER_TOGETHER = 1e-9  # what the original adds to the number of rounds in which a pair meets


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHReformerPytorchOptions:
    """The arguments of the original's `LSHAttention`, by our names and with its defaults.

    Raises:
        ValueError: a value is impossible.
    """

    hashes: int = 8  # rounds, `n_hashes`
    chunk: int = 64  # tokens of the sorted sequence that attend together, `bucket_size`
    count_once: bool = False  # `not allow_duplicate_attention`
    across_buckets: bool = True  # `attend_across_buckets`
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero
    seed: int = 0  # of the rotations, which the original draws from the global generator

    def __post_init__(self) -> None:
        if self.hashes < 1 or self.chunk < 1:
            raise ValueError(f"hashes: {self.hashes}, chunk: {self.chunk}; both are at least 1")
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")

    def filled(self, seq_len: int) -> int:
        """Return the length after filling up to an even number of chunks, as its `Autopadder`."""
        return filled_length(seq_len, over=0, to=2 * self.chunk)


class LSHReformerPytorchAttention(Attention):
    """What `LSHAttention` of reformer-pytorch 1.4.4 computes (package of P. Wang, 2020-2023).

    It differs from `lsh` in this: the chunks of all rounds form one circle; one set of rotations
    serves all heads; a token's score with itself is -5e4, which float32 resolves to 0.004. With
    `count_once` a pair that meets only where the circle leads from one round to the next is
    divided by 1e-9 and not by one: it outweighs all others.

    Two things are ours, so that the peer can be proven and repeated: rotations are those that
    `torch.manual_seed(seed)` would give, and vectors are hashed in float32 in every dtype. Inputs
    are filled up with zeros, which its mask hides; what padding holds is set to zero first.

    impls: `package`, the original's code; `reference`, the same sums over all pairs.

    Raises:
        Unsupported: `package` is asked for and not installed.
    """

    shared_qk = True

    def __init__(
        self, options: LSHReformerPytorchOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.scale = 1 / math.sqrt(head_dim)
        self.original: Any = _original(options, causal=causal) if impl == "package" else None

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the buckets of the first run are used again.

        Raises:
            Unsupported: the package in half precision, with several rounds and causal.
        """
        q, v, keep = self._filled(q, v, mask)
        out = (self._by_rows if self.original is None else self._package)(q, v, keep)
        return zero_padding(out[:, :, : k.shape[2]], mask)

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],  # noqa: ARG002 - the shared vectors are q
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return some rows by the definition, in O(r N) beside the hash, whatever the impl."""
        q, v, keep = self._filled(q, v, mask)
        out = self._rows(q, v, keep, decide(lambda: _plan(q, self.options)), rows)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _filled(
        self, q: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        b, t = q.shape[0], q.shape[2]
        filled = self.options.filled(t)
        keep = key_mask(mask, batch=b, seq_len=t, filled=filled, device=q.device)
        fill = (0, 0, 0, filled - t)
        return pad(zero_padding(q, mask), fill), pad(v, fill), keep

    def _package(self, q: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        if self.causal and self.options.hashes > 1 and q.dtype.itemsize < 4:
            raise Unsupported(
                f"reformer-pytorch in {q.dtype}: -5e4 + log n is -5e4 there, so a token that meets "
                "itself alone gets as many times its value as there are rounds"
            )
        if keep is not None:
            keep = keep.repeat_interleave(q.shape[1], dim=0)
        out, _, _ = self.original(q.flatten(0, 1), v.flatten(0, 1), input_mask=keep)
        return out.unflatten(0, q.shape[:2])

    def _by_rows(self, q: Tensor, v: Tensor, keep: Tensor | None) -> Tensor:
        plan = decide(lambda: _plan(q, self.options))
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, v, keep, plan, block) for block in blocks], dim=2)

    def _rows(
        self, q: Tensor, v: Tensor, keep: Tensor | None, plan: LSHPlan, rows: Tensor
    ) -> Tensor:
        allowed, bias = self._pairs(plan, rows)
        if keep is not None:
            allowed = allowed & keep[:, None, None, :]
        k = normalize(q, dim=-1)
        out = attend_pairs(q[:, :, rows], k, v, allowed, scale=self.scale, bias=bias.to(q.dtype))
        return torch.where(allowed.any(dim=-1, keepdim=True), out, v[:, :, rows])

    def _pairs(self, plan: LSHPlan, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return who meets whom, itself left aside, and the logarithm of how often it weighs."""
        together, across = self._meetings(plan, rows)
        times = together + across
        bias = times.clamp(min=1).double().log()
        if self.options.count_once:
            bias = bias - (together + NEVER_TOGETHER).log()
        keys = torch.arange(plan.order.shape[-1], device=rows.device)
        allowed = (times > 0) & (keys != rows[:, None])
        if self.causal:
            allowed &= keys <= rows[:, None]
        return allowed, bias

    def _meetings(self, plan: LSHPlan, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Count the rounds in which each pair meets, and the seams between rounds where it does.

        A chunk sees itself and the chunk before; the first of a round sees the last of the round
        before it, the first of all the very last.
        """
        chunk = plan.place // self.options.chunk
        last = plan.place.shape[-1] // self.options.chunk - 1
        together = across = torch.zeros(1, dtype=torch.int16, device=rows.device)
        for r in range(plan.rounds):
            apart = chunk[:, :, r, rows, None] - chunk[:, :, r, None]
            met = (apart == 0) | (apart == 1)
            seam = (chunk[:, :, r, rows, None] == 0) & (chunk[:, :, r - 1, None] == last)
            if not self.options.across_buckets:
                own = plan.bucket[:, :, r, rows, None] == plan.bucket[:, :, r, None]
                met, seam = met & own, seam & own & (plan.rounds == 1)
            together, across = together + met, across + seam
        if plan.rounds == 1:  # the original takes this seam for a meeting within the round
            return together + across, torch.zeros_like(across)
        return together, across


def _original(options: LSHReformerPytorchOptions, *, causal: bool) -> Any:
    """Make the package's module, with the two changes that `LSHReformerPytorchAttention` names."""
    package = optional("reformer_pytorch", *PACKAGES)

    class Repeatable(package.LSHAttention):
        def hash_vectors(self, n_buckets: int, vecs: Tensor, **kept: Any) -> Tensor:
            hashed = super().hash_vectors

            def draw() -> Tensor:
                devices = [vecs.device] if vecs.is_cuda else []
                with (
                    torch.random.fork_rng(devices),
                    torch.autocast(vecs.device.type, enabled=False),
                ):
                    torch.manual_seed(options.seed)
                    return hashed(n_buckets, vecs.float(), **kept)

            return decide(draw)

    return Repeatable(
        dropout=options.attention_dropout,
        bucket_size=options.chunk,
        n_hashes=options.hashes,
        causal=causal,
        allow_duplicate_attention=not options.count_once,
        attend_across_buckets=options.across_buckets,
    )


def _plan(q: Tensor, options: LSHReformerPytorchOptions) -> LSHPlan:
    """Hash by one set of rotations for all heads."""
    count, device = q.shape[2] // options.chunk, q.device
    generator = torch.Generator(device).manual_seed(options.seed)
    shape = (1, q.shape[3], options.hashes, count // 2)
    rotations = torch.randn(shape, generator=generator, device=device)
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        x = q.detach().flatten(0, 1).float()
        rotated = torch.einsum("ntd,ndrf->nrtf", x, rotations.expand(len(x), -1, -1, -1))
    return sorted_by(nearest_buckets(rotated.unflatten(0, q.shape[:2]), [count]))


def cost(options: LSHReformerPytorchOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; the state is all inputs, from which it starts anew."""
    t = options.filled(shape.seq_len)
    sequences = shape.batch * shape.heads
    hashing = 2 * sequences * t * shape.head_dim * options.hashes * (t // options.chunk // 2)
    elements = sequences * shape.seq_len * shape.head_dim
    pairs = options.hashes * 2 * options.chunk * t if impl == "package" else t * t
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=4 * sequences * shape.head_dim * pairs + hashing,
        forward_only_flops=hashing,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=2 * elements * shape.itemsize,
    )


VARIANT = Variant(
    module=LSHReformerPytorchAttention,
    options=LSHReformerPytorchOptions,
    impls=("package", "reference"),
    cost=cost,
    causal=True,
    exact=False,
    # A token that meets itself alone has log-sum-exps of -5e4, and the rounds -5e4 + log n: float32
    # resolves it to 0.004, and the weights of 8 rounds add up to 0.999 instead of 1.
    tolerance=250.0,
)
