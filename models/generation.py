"""Continues sequences token by token: greedy, sampled, or by beam search."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.beams import BeamSearch, Hypotheses
from models.layers.cache import Cache
from models.layers.sampling import GREEDY, Sampler, Sampling


@runtime_checkable  # so that tests may check it
class Decodes(Protocol):
    """What can be continued: `CausalLM` after a prompt, `EncoderDecoder` after a source.

    `begin` reads the prompt at once, `step` one token of each row; both return the logits of the
    token that follows, and a cache.
    """

    def begin(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read a prompt."""
        ...

    def step(self, tokens: Int[Tensor, " b"], cache: Cache) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read one token more."""
        ...

    def reorder(self, cache: Cache, rows: Int[Tensor, " r"]) -> Cache:
        """Return the cache whose row i is the old row `rows[i]`; rows may repeat."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Continuation:
    """The tokens after the prompt; what follows the end of a row is padding."""

    tokens: Int[Tensor, "b n"]
    lengths: Int[Tensor, " b"]  # the token that ends a row included


def generate(
    model: Decodes,
    tokens: Int[Tensor, "b t"],
    *,
    max_new_tokens: int,
    mask: Bool[Tensor, "b t"] | None = None,
    sampling: Sampling = GREEDY,
    eos: int | None = None,
    pad: int = 0,
) -> Continuation:
    """Continue each row until its `eos`, and at most `max_new_tokens` long.

    `mask` is True at tokens and False at padding. The model runs as for evaluation, without
    dropout and gradients, and is left as it was.

    Raises:
        ValueError: no token is asked for, or more than there are positions.
    """
    _at_least_one("max_new_tokens", max_new_tokens)
    sampler = Sampler(sampling, rows=len(tokens))
    running = torch.ones(len(tokens), dtype=torch.bool, device=tokens.device)
    lengths = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    chosen: list[Tensor] = []
    with _evaluation(model):
        logits, cache = model.begin(tokens, mask)
        cache.check_room(max_new_tokens - 1)
        while True:
            token = sampler.choose(logits)  # of ended rows, too: `pad` need not be a token
            chosen.append(token.masked_fill(~running, pad))
            lengths = lengths + running
            if eos is not None:
                running = running & (token != eos)
            if len(chosen) == max_new_tokens or not running.any():
                return Continuation(tokens=torch.stack(chosen, dim=1), lengths=lengths)
            logits, cache = model.step(token, cache)


def beam_search(
    model: Decodes,
    tokens: Int[Tensor, "b t"],
    *,
    beams: int,
    max_new_tokens: int,
    mask: Bool[Tensor, "b t"] | None = None,
    length_penalty: float = 0.0,
    eos: int | None = None,
    pad: int = 0,
) -> Hypotheses:
    """Return the `beams` continuations y with the largest `log P(y | x) / lp(y)` that are found.

    `lp(y) = ((5 + |y|) / 6)^alpha` with the length penalty alpha (Wu et al. 2016, equation 14).
    Each step keeps the `beams` likeliest unfinished continuations of each row and, apart from
    them, the best finished ones; with as many beams as there are continuations the search is
    exhaustive. It ends when no unfinished continuation can become one of the best.

    Raises:
        ValueError: there is no beam, no token is asked for or more than there are positions, or
            the penalty is impossible.
    """
    _at_least_one("max_new_tokens", max_new_tokens)
    _at_least_one("beams", beams)
    if not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty: {length_penalty}; at least 0 and finite")
    search = BeamSearch(
        rows=len(tokens),
        beams=beams,
        longest=max_new_tokens,
        eos=eos,
        alpha=length_penalty,
        pad=pad,
        device=tokens.device,
    )
    with _evaluation(model):
        logits, cache = model.begin(tokens, mask)  # the prompt is read once, not once a beam
        cache.check_room(max_new_tokens - 1)
        rows = torch.arange(len(tokens), device=tokens.device).repeat_interleave(beams)
        logits, cache = logits[rows], model.reorder(cache, rows)
        while True:
            parents = search.advance(logits)
            if search.decided:
                return search.hypotheses()
            logits, cache = model.step(search.last, model.reorder(cache, parents))


@contextmanager
def _evaluation(model: Decodes) -> Iterator[None]:
    """Switch a network to evaluation and every part of it back to what it was."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    training = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module, was in zip(modules, training, strict=True):
            module.training = was


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name}: {value}; at least 1")
