"""The kind `Variant`: an attention mechanism, its options, its ways to be computed, its cost."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from models.catalog import Catalog

VARIANTS = Catalog("models.variants", "VARIANT")


class Unsupported(Exception):  # noqa: N818 - an answer, not a fault
    """This mechanism or impl cannot run here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The problem that an attention call solves."""

    batch: int
    heads: int
    seq_len: int
    head_dim: int
    causal: bool
    itemsize: int = 4  # bytes of one element of q, k, v

    @property
    def pairs(self) -> int:
        """Query-key pairs of exact attention: N^2, or N (N + 1) / 2 when causal."""
        n = self.seq_len
        return n * (n + 1) // 2 if self.causal else n * n


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one forward call costs on paper; a multiply-add is two FLOPs, softmax and sort none."""

    model_flops: int  # of the problem: 4 * pairs * head_dim * heads * batch for every variant
    executed_flops: int  # of the mechanism as this impl computes it
    forward_only_flops: int = 0  # of those, what has no gradient and is not recomputed: hashing
    compulsory_bytes: int  # read q, k, v once, write the output once
    state_bytes: int  # what decoding one more token must keep per layer


class Attention(nn.Module, abc.ABC):
    """A mechanism: q, k, v `[batch, heads, time, dim]` to an output of the same shape.

    Projections live in the transformer block. A mechanism with shared queries and keys sets
    `shared_qk`; it takes the shared vectors as q and ignores k.
    """

    shared_qk: bool = False

    @abc.abstractmethod
    def forward(
        self, q: Float[Tensor, "b h t d"], k: Float[Tensor, "b h t d"], v: Float[Tensor, "b h t d"]
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h t d"],
        v: Float[Tensor, "b h t d"],
        rows: Int[Tensor, " r"],
    ) -> Float[Tensor, "b h r d"]:
        """Return the outputs at the positions `rows` only.

        The proof compares a fast impl with these rows of the reference at full length. Mechanisms
        whose rows can be had without the others override it, so that the proof costs O(N).
        """
        return self.forward(q, k, v)[:, :, rows]


@runtime_checkable  # so that tests may check it
class Build(Protocol):
    """Makes a mechanism from its options: `build(options, causal=..., impl=..., head_dim=...)`."""

    def __call__(self, options: Any, *, causal: bool, impl: str, head_dim: int) -> Attention:
        """Build it.

        Raises:
            Unsupported: this impl or combination cannot run.
            ValueError: an option's value is impossible.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """An attention mechanism as a suite names it; a file's last line makes one."""

    module: Build  # usually the Attention's class
    options: type  # frozen dataclass of the mechanism's options, with defaults
    impls: tuple[str, ...]  # the first is the default; "reference" is the specification
    cost: Callable[[Any, Shape, str], Cost]  # (options, shape, impl)
    causal: bool  # may be built with causal=True
    bidirectional: bool = True  # may be built with causal=False
    exact: bool  # computes softmax attention over all pairs
    tolerance: float = 1.0  # factor on the proof's tolerance, with a reason beside it
