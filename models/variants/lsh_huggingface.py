"""LSH attention as Hugging Face `transformers` computes it: chunks on a circle. O(N log N)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import pad

from models.kernels.circular import (
    attend_chunks,
    filled_length,
    hash_and_sort,
    key_mask,
    neighbours,
    times_seen,
)
from models.kernels.dense import ROWS, attend_pairs
from models.kernels.lsh_plan import LSHPlan, hash_flops, whole_sequence
from models.kernels.padding import zero_padding
from models.layers.replay import decide
from models.variant import Attention, Cost, Shape, Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class LSHHuggingFaceOptions:
    """The fields `lsh_*`, `num_*`, `hash_seed` of the original's configuration, by our names.

    Raises:
        ValueError: a value is impossible.
    """

    hashes: int = 1  # rounds
    chunk: int = 64  # tokens of the sorted sequence that attend together
    buckets: int | Sequence[int] | None = None  # count or factors; None: see `factors`
    before: int = 1  # earlier chunks that a chunk sees
    after: int = 0  # later chunks
    attention_dropout: float = 0.0  # share of normalised weights that training sets to zero
    hash_seed: int | None = None  # of the rotations, the same in every layer; None: 0
    hash_dtype: str = "float32"  # or "vectors": in the precision of the vectors, as the original
    max_positions: int = 4096  # of the model; they decide when `factors` splits the count
    pad_over: int | None = None  # longer inputs are filled up; None: `chunk`
    pad_to: int | None = None  # to a multiple of this; None: `chunk`

    def __post_init__(self) -> None:
        if self.buckets is not None and not isinstance(self.buckets, int):
            object.__setattr__(self, "buckets", tuple(self.buckets))
        if self.hashes < 1 or self.chunk < 1 or self.before < 0 or self.after < 0:
            raise ValueError(f"{self}: hashes, chunk are at least 1, before, after at least 0")
        if not 0 <= self.attention_dropout < 1:
            raise ValueError(f"attention_dropout: {self.attention_dropout}; at least 0 and below 1")
        if self.hash_dtype not in {"float32", "vectors"}:
            raise ValueError(f"hash_dtype: {self.hash_dtype!r}; allowed: 'float32', 'vectors'")
        if (self.pad_to or self.chunk) % self.chunk:
            raise ValueError(f"pad_to: {self.pad_to}; a multiple of chunk {self.chunk}")
        if any(f < 2 or f % 2 for f in self.factors(self.chunk)):
            raise ValueError(
                f"buckets: {self.buckets}; a bucket count or factor is even and at least 2"
            )

    def filled(self, seq_len: int) -> int:
        """Return the length after filling up."""
        over, to = self.pad_over or self.chunk, self.pad_to or self.chunk
        return filled_length(seq_len, over=over, to=to)

    def factors(self, filled: int) -> list[int]:
        """Return the factors of the bucket count for a filled-up length.

        None is the largest power of two up to `2 (t // chunk)`; above the limit
        `2 max(sqrt(max_positions // chunk), chunk)` it is split near its root, the smaller factor
        first. The original keeps the count of the first sequence; here each length has its own.
        """
        if isinstance(self.buckets, int):
            return [self.buckets]
        if self.buckets is not None:
            return list(self.buckets)
        power = (2 * (filled // self.chunk)).bit_length() - 1
        limit = 2 * max(math.isqrt(self.max_positions // self.chunk), self.chunk)
        return [2**power] if 2**power <= limit else [2 ** (power // 2), 2 ** (power - power // 2)]

    def seen(self, filled: int, device: torch.device | None = None) -> Int[Tensor, "c s"]:
        """Return which chunks each chunk of all rounds sees."""
        if filled <= self.chunk:
            return neighbours(1, 0, 0, device)
        chunks = self.hashes * filled // self.chunk
        return neighbours(chunks, self.before, self.after, device)


class LSHHuggingFaceAttention(Attention):
    """What `ReformerModel` of `transformers` computes, for checkpoints that were made by it.

    It differs from `lsh` in this. The chunks of all rounds form one circle: the first chunk of a
    round sees the last one of the round before. Bucket counts are powers of two. Masked tokens,
    and what fills up the input, share a bucket behind all others. Forbidden scores become -1e9 and
    a token's score with itself -1e5; see `attend_chunks` for what that does to float32.

    The rotations are those that `torch.manual_seed(hash_seed)` would give, drawn by a generator
    of their own: the global random state is left alone. The output at padding, which nobody sees,
    is zero here.

    impls: `chunked`, the original's operations; `reference`, the same sums over all pairs.
    """

    shared_qk = True

    def __init__(
        self, options: LSHHuggingFaceOptions, *, causal: bool, impl: str, head_dim: int
    ) -> None:
        super().__init__()
        self.options = options
        self.causal = causal
        self.root = math.sqrt(head_dim)
        self._attend = {"chunked": self._chunked, "reference": self._by_rows}[impl]

    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend; inside a reversible stack the order of the first run is used again."""
        q, v, keep = self._filled(q, v, mask)
        plan = decide(lambda: self._plan(q, keep))
        out = self._attend(q, v, keep, plan)[:, :, : k.shape[2]]
        return zero_padding(out, mask)

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
        out = self._rows(q, v, keep, decide(lambda: self._plan(q, keep)), rows)
        return zero_padding(out, None if mask is None else mask[:, rows])

    def _filled(
        self, q: Tensor, v: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        b, t = q.shape[0], q.shape[2]
        filled = self.options.filled(t)
        keep = key_mask(mask, batch=b, seq_len=t, filled=filled, device=q.device)
        return pad(q, (0, 0, 0, filled - t)), pad(v, (0, 0, 0, filled - t)), keep

    def _plan(self, q: Tensor, keep: Tensor | None) -> LSHPlan:
        t = q.shape[2]
        if t <= self.options.chunk:
            return whole_sequence(q)
        return hash_and_sort(
            q.detach() if self.options.hash_dtype == "vectors" else q.detach().float(),
            keep,
            rounds=self.options.hashes,
            factors=self.options.factors(t),
            seed=self.options.hash_seed or 0,
        )

    def _chunked(self, q: Tensor, v: Tensor, keep: Tensor | None, plan: LSHPlan) -> Tensor:
        b, h, r, t = plan.order.shape
        m = min(self.options.chunk, t)
        positions = plan.order.flatten(2).long()
        if keep is not None:
            keep = keep[:, None].expand(b, h, t).gather(2, positions).unflatten(2, (-1, m))
        chosen = positions.unsqueeze(-1).expand(-1, -1, -1, q.shape[-1])
        queries = q.gather(2, chosen).unflatten(2, (-1, m))
        out, z = attend_chunks(
            queries,
            self._keys(queries),
            v.gather(2, chosen).unflatten(2, (-1, m)),
            positions.unflatten(2, (-1, m)),
            keep,
            self.options.seen(t, q.device),
            causal=self.causal,
            shared_qk=True,
            dropout=self.options.attention_dropout if self.training else 0.0,
        )
        out, z = out.reshape(b, h, r, t, -1), z.reshape(b, h, r, t, 1)
        place = plan.place.long().unsqueeze(-1)
        out, z = out.gather(3, place.expand_as(out)), z.gather(3, place)
        return (out * torch.exp(z - torch.logsumexp(z, dim=2, keepdim=True))).sum(dim=2)

    def _keys(self, q: Tensor) -> Tensor:
        """Return `q / rms(q) / sqrt(d)`, which is the unit vector."""
        return q * torch.rsqrt(q.square().mean(dim=-1, keepdim=True) + 1e-6) / self.root

    def _by_rows(self, q: Tensor, v: Tensor, keep: Tensor | None, plan: LSHPlan) -> Tensor:
        blocks = torch.arange(q.shape[2], device=q.device).split(ROWS)
        return torch.cat([self._rows(q, v, keep, plan, block) for block in blocks], dim=2)

    def _rows(
        self, q: Tensor, v: Tensor, keep: Tensor | None, plan: LSHPlan, rows: Tensor
    ) -> Tensor:
        b, h, r, t = plan.order.shape
        m = min(self.options.chunk, t)
        first = torch.arange(r, device=q.device)[:, None] * (t // m)  # chunk of each round
        chunk = (first + plan.place // m).flatten(0, 1)
        seen = self.options.seen(t, q.device)
        times = times_seen(chunk[:, :, rows], chunk, seen).unflatten(0, (b, h))
        keys = torch.arange(t, device=q.device)
        allowed = (times > 0) & (keys != rows[:, None])
        if self.causal:
            allowed &= keys <= rows[:, None]
        if keep is not None:
            allowed &= keep[:, None, None, :]
        bias = times.clamp(min=1).to(q.dtype).log()
        out = attend_pairs(q[:, :, rows], self._keys(q), v, allowed, scale=1.0, bias=bias)
        return torch.where(allowed.any(dim=-1, keepdim=True), out, v[:, :, rows])


def cost(options: LSHHuggingFaceOptions, shape: Shape, impl: str) -> Cost:
    """Return the cost of one forward call; the state is inputs and int64 buckets."""
    n, t = shape.seq_len, options.filled(shape.seq_len)
    sequences = shape.batch * shape.heads
    rounds, hashing = 1, 0
    if t > options.chunk:
        rounds = options.hashes
        factors = options.factors(t)
        hashing = hash_flops(
            heads=sequences, seq_len=t, dim=shape.head_dim, rounds=rounds, factors=factors
        )
    pairs = rounds * t * options.seen(t).shape[1] * min(options.chunk, t)
    elements = sequences * n * shape.head_dim
    return Cost(
        model_flops=4 * shape.head_dim * sequences * shape.pairs,
        executed_flops=4 * shape.head_dim * sequences * (pairs if impl == "chunked" else t * t)
        + hashing,
        forward_only_flops=hashing,
        compulsory_bytes=3 * elements * shape.itemsize,
        state_bytes=elements * shape.itemsize + 8 * sequences * n * rounds,
    )


VARIANT = Variant(
    module=LSHHuggingFaceAttention,
    options=LSHHuggingFaceOptions,
    impls=("chunked", "reference"),
    cost=cost,
    causal=True,
    exact=False,
    # A token that meets itself alone, in several rounds, has log-sum-exps of -1e5 + log n; float32
    # resolves them to 0.008 there, and its weights add up to 0.998 instead of 1.
    tolerance=100.0,
)
