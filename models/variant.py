"""The kind `Variant`: an attention mechanism, its options, its ways to be computed, its cost."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.catalog import Catalog
from models.unsupported import Unsupported

__all__ = [
    "VARIANTS",
    "Attention",
    "Build",
    "Choose",
    "Cost",
    "Crosses",
    "History",
    "Shape",
    "Unsupported",
    "Variant",
    "attend",
    "check_causal",
]

GROUP = "attention_harness.variants"  # entry points of installed packages
VARIANTS = Catalog("models.variants", "VARIANT", group=GROUP)


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
    recomputed_flops: int = 0  # by the backward, which counts else twice the forward
    learning_flops: int = 0  # in training only: what learns without a gradient, such as centroids
    constant_flops: int = 0  # of products with constants: one product in the backward, not two
    compulsory_bytes: int  # read q, k, v once, write the output once
    state_bytes: int  # what decoding one more token must keep per layer


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that was handed in so far: what any causal mechanism can decode from."""

    q: Float[Tensor, "b h t d"]
    k: Float[Tensor, "b g t d"]
    v: Float[Tensor, "b g t d"]
    mask: Bool[Tensor, "b t"] | None


class Attention(nn.Module, abc.ABC):
    """A mechanism: q, k, v `[batch, heads, time, dim]` to an output of the same shape.

    Projections live in the transformer block. A mechanism with shared queries and keys sets
    `shared_qk`; it takes the shared vectors as q and ignores k. One whose heads share keys and
    values sets `kv_heads`: k and v then have so many heads, and the block projects no more. One in
    which the vectors of all tokens decide who meets whom, as by a hash, sets `routed`: if causal,
    it takes nothing from later *values*.

    A mask is true where a position holds a token. Padded keys are never attended, any position
    may be padding, and the output at padding is zero. A mechanism may leave the argument out; then
    it refuses padded batches.

    Decoding: `state = begin(...)` with what was attended by `forward`, then `step` token by token.
    """

    shared_qk: bool = False
    kv_heads: int | None = None  # of k and v; None: as many as q has
    routed: bool = False

    @abc.abstractmethod
    def forward(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend."""

    def rows(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        rows: Int[Tensor, " r"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b h r d"]:
        """Return the outputs at the positions `rows` only.

        The proof compares a fast impl with these rows of the reference at full length. Mechanisms
        whose rows can be had without the others override it, so that the proof costs O(N).
        """
        return attend(self, q, k, v, mask)[:, :, rows]

    def begin(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b g t d"],
        v: Float[Tensor, "b g t d"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Any:
        """Return what decoding needs to know of these tokens: the mechanism's own kind of state.

        Raises:
            Unsupported: the mechanism is bidirectional: a new token would change all outputs.
        """
        check_causal(self)
        return History(q=q, k=k, v=v, mask=mask)

    def step(
        self,
        q: Float[Tensor, "b h 1 d"],
        k: Float[Tensor, "b g 1 d"],
        v: Float[Tensor, "b g 1 d"],
        state: Any,
    ) -> tuple[Float[Tensor, "b h 1 d"], Any]:
        """Attend from one more token of each row; return its output and the next state.

        Equal to the last row of `forward` over all tokens. States are values: the one that is
        handed in stays good. There is no gradient through them.

        This one keeps everything and computes all rows again: right for any causal mechanism, slow.
        """
        mask = state.mask
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        history = History(
            q=torch.cat([state.q, q], dim=2),
            k=torch.cat([state.k, k], dim=2),
            v=torch.cat([state.v, v], dim=2),
            mask=mask,
        )
        out = attend(self, history.q, history.k, history.v, mask)
        return out[:, :, -1:], history

    def reorder(self, state: Any, rows: Int[Tensor, " r"]) -> Any:
        """Return the state of these rows of the batch; a row may come several times (beams)."""
        return History(
            q=state.q[rows],
            k=state.k[rows],
            v=state.v[rows],
            mask=None if state.mask is None else state.mask[rows],
        )


@runtime_checkable
class Crosses(Protocol):
    """A mechanism that can attend to another sequence: exact attention without shared vectors."""

    def cross(
        self,
        q: Float[Tensor, "b h t d"],
        k: Float[Tensor, "b h s d"],
        v: Float[Tensor, "b h s d"],
        mask: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "b h t d"]:
        """Attend to all keys that the mask shows; zeros where it shows none."""
        ...


def attend(
    attention: Attention,
    q: Float[Tensor, "b h t d"],
    k: Float[Tensor, "b g t d"],
    v: Float[Tensor, "b g t d"],
    mask: Bool[Tensor, "b t"] | None = None,
) -> Float[Tensor, "b h t d"]:
    """Call a mechanism, with the mask only if there is one.

    Raises:
        Unsupported: there is one, and the mechanism takes none.
    """
    if mask is None:
        return attention(q, k, v)
    if "mask" not in inspect.signature(attention.forward).parameters:
        raise Unsupported(f"{type(attention).__name__} takes no mask: only batches without padding")
    return attention(q, k, v, mask)


def check_causal(attention: Attention) -> None:
    """Refuse to decode with a mechanism that says `causal = False`.

    Raises:
        Unsupported: it is so.
    """
    if not getattr(attention, "causal", True):
        raise Unsupported(f"{type(attention).__name__} is bidirectional: no decoding step by step")


@runtime_checkable  # so that tests may check it
class Build(Protocol):
    """Makes a mechanism from its options: `build(options, causal=..., impl=..., head_dim=...)`.

    A builder that also names `heads` or `max_len`, the longest sequence that it must take, is told
    them; None where nobody knows.
    """

    def __call__(self, options: Any, *, causal: bool, impl: str, head_dim: int) -> Attention:
        """Build it.

        Raises:
            Unsupported: this impl or combination cannot run.
            ValueError: an option's value is impossible.
        """
        ...


@runtime_checkable
class Choose(Protocol):
    """Names the impl that `auto` stands for."""

    def __call__(
        self, options: Any, shape: Shape, *, device: str, dtype: torch.dtype, training: bool
    ) -> str:
        """Return the impl for a problem on a type of device; `training` asks for gradients."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """An attention mechanism as a suite names it; a file's last line makes one."""

    module: Build  # usually the Attention's class
    options: type  # frozen dataclass of the mechanism's options, with defaults
    impls: tuple[str, ...]  # the first is `auto` without `choose`; "reference" specifies
    choose: Choose | None = None  # of `auto`; then the module takes impl="auto" itself, too
    cost: Callable[[Any, Shape, str], Cost]  # (options, shape, impl)
    causal: bool  # may be built with causal=True
    bidirectional: bool = True  # may be built with causal=False
    exact: bool  # computes softmax attention over all pairs
    tolerance: float = 1.0  # factor on the proof's tolerance, with a reason beside it

    def build(
        self,
        options: Any,
        *,
        causal: bool,
        impl: str,
        head_dim: int,
        heads: int | None = None,
        max_len: int | None = None,
    ) -> Attention:
        """Make the mechanism.

        Raises:
            Unsupported: this impl or combination cannot run.
            ValueError: an option's value is impossible.
        """
        make: Any = self.module
        known = {"heads": heads, "max_len": max_len}
        taken = inspect.signature(make).parameters
        told = {name: value for name, value in known.items() if name in taken}
        return make(options, causal=causal, impl=impl, head_dim=head_dim, **told)
