"""The books of beam search: unfinished and finished continuations with their scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Hypotheses:
    """Continuations of each row; a place that is not taken has length 0 and score -inf."""

    tokens: Int[Tensor, "b k n"]
    lengths: Int[Tensor, "b k"]  # the token that ends a continuation included
    scores: Float[Tensor, "b k"]

    def take(self, places: Int[Tensor, "b j"]) -> Hypotheses:
        """Return the continuations at these places of each row."""
        index = places.unsqueeze(-1).expand(-1, -1, self.tokens.shape[-1])
        return Hypotheses(
            tokens=self.tokens.gather(1, index),
            lengths=self.lengths.gather(1, places),
            scores=self.scores.gather(1, places),
        )

    def ranked(self, count: int) -> Hypotheses:
        """Return those of the largest scores, best first."""
        return self.take(self.scores.topk(count, dim=1).indices)

    def joined(self, other: Hypotheses) -> Hypotheses:
        """Return the continuations of both."""
        return Hypotheses(
            tokens=torch.cat([self.tokens, other.tokens], dim=1),
            lengths=torch.cat([self.lengths, other.lengths], dim=1),
            scores=torch.cat([self.scores, other.scores], dim=1),
        )

    def extended(
        self, tokens: Int[Tensor, "b k"], scores: Float[Tensor, "b k"], step: int
    ) -> Hypotheses:
        """Return each continuation with one token more, the one with index `step`."""
        longer = self.tokens.clone()
        longer[:, :, step] = tokens
        return Hypotheses(
            tokens=longer, lengths=torch.full_like(self.lengths, step + 1), scores=scores
        )


class BeamSearch:
    """Keeps for each row its likeliest unfinished and, apart, its best finished continuations.

    Args:
        rows: rows of the batch.
        beams: continuations of either kind that are kept for each row.
        longest: tokens of the longest continuation.
        eos: the token that finishes a continuation; None: only its length does.
        alpha: of the length penalty.
        pad: stands behind the end of a continuation.
        device: where the logits are.
    """

    def __init__(
        self,
        *,
        rows: int,
        beams: int,
        longest: int,
        eos: int | None,
        alpha: float,
        pad: int,
        device: torch.device,
    ) -> None:
        self.beams, self.longest, self.eos, self.alpha, self.pad = beams, longest, eos, alpha, pad
        self.finished = Hypotheses(
            tokens=torch.full((rows, beams, longest), pad, device=device),
            lengths=torch.zeros(rows, beams, dtype=torch.int64, device=device),
            scores=torch.full((rows, beams), -math.inf, dtype=torch.float64, device=device),
        )
        scores = self.finished.scores.clone()
        scores[:, 0] = 0  # all beams are the prompt itself: one of them goes on
        self.live = Hypotheses(
            tokens=self.finished.tokens, lengths=self.finished.lengths, scores=scores
        )
        self.step = 0

    def advance(self, logits: Float[Tensor, "n v"]) -> Int[Tensor, " n"]:
        """Take the logits of the next token of each beam; return the beams that were continued.

        `n` is rows x beams. The unfinished beam i continues what was beam `result[i]`.
        """
        beams, vocab = self.beams, logits.shape[-1]
        gained = logits.double().log_softmax(dim=-1).view(-1, beams, vocab)
        totals = self.live.scores.unsqueeze(-1) + gained
        if self.eos is not None:
            scores = totals[:, :, self.eos] / self._penalty(self.step + 1)
            ended = self.live.extended(
                torch.full_like(self.live.lengths, self.eos), scores, self.step
            )
            self.finished = self.finished.joined(ended).ranked(beams)
            totals[:, :, self.eos] = -math.inf
        scores, places = totals.flatten(1).topk(beams, dim=1)
        parents = places // vocab
        self.live = self.live.take(parents).extended(places % vocab, scores, self.step)
        self.step += 1
        starts = torch.arange(len(parents), device=parents.device) * beams
        return (parents + starts[:, None]).flatten()

    @property
    def last(self) -> Int[Tensor, " n"]:
        """The last token of each unfinished beam."""
        return self.live.tokens[:, :, self.step - 1].flatten()

    @property
    def decided(self) -> bool:
        """Whether no row has an unfinished continuation that can still become one of its best.

        Log-probabilities only fall and the penalty only grows: what a beam has now over the
        penalty of the longest continuation is the most that it can reach.
        """
        if self.step == self.longest:
            return True
        reachable = self.live.scores.amax(dim=1) / self._penalty(self.longest)
        return bool((reachable <= self.finished.scores.amin(dim=1)).all())

    def hypotheses(self) -> Hypotheses:
        """Return the best of the finished and, as if they ended here, the unfinished."""
        scores = self.live.scores / self._penalty(self.step)
        ended = Hypotheses(tokens=self.live.tokens, lengths=self.live.lengths, scores=scores)
        found = self.finished.joined(ended).ranked(self.beams)
        missing = found.scores == -math.inf
        return Hypotheses(
            tokens=found.tokens.masked_fill(missing.unsqueeze(-1), self.pad),
            lengths=found.lengths.masked_fill(missing, 0),
            scores=found.scores,
        )

    def _penalty(self, length: int) -> float:
        """Return `((5 + n) / 6)^alpha` (Wu et al. 2016, equation 14)."""
        return ((5 + length) / 6) ** self.alpha
