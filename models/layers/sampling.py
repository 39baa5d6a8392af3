"""From the logits of the next token to the token: greedy, temperature, top-k, top-p."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to choose a token.

    Raises:
        ValueError: a value is impossible.
    """

    temperature: float = 1.0  # logits are divided by it; 0: always the likeliest
    top_k: int | None = None  # of the k likeliest only (Fan et al. 2018); None: of all
    top_p: float | None = None  # of the fewest that hold p of the mass (Holtzman et al. 2020)
    seed: int = 0  # row i draws from a generator of its own, seeded with seed + i

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature: {self.temperature}; at least 0 and finite")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k: {self.top_k}; at least 1")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p: {self.top_p}; above 0 and at most 1")


GREEDY = Sampling(temperature=0.0)


class Sampler:
    """Chooses one token for each row, step by step.

    Each row has a private generator: its tokens depend on the seed, its own logits and its place
    in the batch, never on the other rows, and the global random state is not touched. A row takes
    one uniform draw a step and inverts the distribution function, on every device alike.
    """

    def __init__(self, sampling: Sampling, *, rows: int) -> None:
        self.sampling = sampling
        self._generators = [
            torch.Generator(device="cpu").manual_seed((sampling.seed + row) % 2**63)
            for row in range(rows)
        ]

    def choose(self, logits: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
        """Return the next token of each row.

        Raises:
            ValueError: there are not as many rows as generators.
        """
        if len(logits) != len(self._generators):
            raise ValueError(f"{len(logits)} rows; the sampler has {len(self._generators)}")
        if self.sampling.temperature == 0:
            return logits.argmax(dim=-1)
        probabilities, tokens = distribution(logits, self.sampling)
        draws = torch.stack([_draw(generator) for generator in self._generators]).to(logits.device)
        mass = probabilities.cumsum(dim=-1)
        # Rounding leaves the last sum a little beside 1: draws are of what is there.
        place = (mass <= draws[:, None] * mass[:, -1:]).sum(dim=-1, keepdim=True)
        last = (probabilities > 0).sum(dim=-1, keepdim=True) - 1
        return tokens.gather(1, place.minimum(last)).squeeze(1)


def distribution(
    logits: Float[Tensor, "b v"], sampling: Sampling
) -> tuple[Float[Tensor, "b v"], Int[Tensor, "b v"]]:
    """Return the probabilities in falling order, in float64, and the tokens that have them.

    Tokens that top-k or top-p leave out have probability zero; the first one always stays.
    """
    scaled = logits.double() / sampling.temperature
    ranked, tokens = scaled.sort(dim=-1, descending=True, stable=True)
    if sampling.top_k is not None:
        ranked[:, sampling.top_k :] = -math.inf
    probabilities = ranked.softmax(dim=-1)
    if sampling.top_p is not None:
        before = probabilities.cumsum(dim=-1) - probabilities
        left_out = before >= sampling.top_p
        left_out[:, 0] = False
        probabilities = probabilities.masked_fill(left_out, 0)
        probabilities = probabilities / probabilities.sum(dim=-1, keepdim=True)
    return probabilities, tokens


def _draw(generator: torch.Generator) -> Float[Tensor, ""]:
    return torch.rand((), generator=generator, dtype=torch.float64, device="cpu")
