"""From logits to tokens: who may be drawn, how often, and from which randomness."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from models.layers.sampling import GREEDY, Sampler, Sampling, distribution

# Probabilities 0.4, 0.3, 0.2, 0.1 of the tokens 2, 0, 3, 1.
LOGITS = torch.tensor([[0.3, 0.1, 0.4, 0.2]], dtype=torch.float64).log()


def probabilities(**values: Any) -> list[float]:
    """Return the probability of each token."""
    ranked, tokens = distribution(LOGITS, Sampling(**values))
    return torch.zeros_like(ranked).scatter_(1, tokens, ranked)[0].tolist()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, [0.3, 0.1, 0.4, 0.2]),
        ({"top_k": 1}, [0, 0, 1, 0]),
        ({"top_k": 2}, [3 / 7, 0, 4 / 7, 0]),
        ({"top_k": 9}, [0.3, 0.1, 0.4, 0.2]),
        ({"top_p": 1.0}, [0.3, 0.1, 0.4, 0.2]),
        ({"top_p": 1e-9}, [0, 0, 1, 0]),
        ({"top_p": 0.69}, [3 / 7, 0, 4 / 7, 0]),
        ({"top_p": 0.71}, [3 / 9, 0, 4 / 9, 2 / 9]),
        ({"top_k": 3, "top_p": 0.5}, [3 / 7, 0, 4 / 7, 0]),  # 4/9 before the second: below 0.5
        ({"temperature": 0.5}, [9 / 30, 1 / 30, 16 / 30, 4 / 30]),
        ({"temperature": 1e-3}, [0, 0, 1, 0]),
    ],
)
def test_probabilities_are_those_of_the_tokens_that_stay(
    values: dict[str, Any], expected: list[float]
) -> None:
    assert probabilities(**values) == pytest.approx(expected, abs=1e-12)


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    sampler = Sampler(Sampling(seed=3, top_k=3), rows=4000)
    tokens = sampler.choose(LOGITS.expand(4000, -1))
    found = tokens.bincount(minlength=4).double() / 4000
    expected = torch.tensor([3 / 9, 0, 4 / 9, 2 / 9], dtype=torch.float64)
    assert (found - expected).abs().max() < 4 * 0.5 / math.sqrt(4000)
    assert found[1] == 0


def drawn(logits: Tensor, seed: int, steps: int = 20) -> Tensor:
    sampler = Sampler(Sampling(seed=seed), rows=len(logits))
    return torch.stack([sampler.choose(logits) for _ in range(steps)], dim=1)


def test_a_seed_repeats_and_other_seeds_and_rows_differ() -> None:
    logits = torch.zeros(3, 50)
    tokens = drawn(logits, seed=5)
    assert torch.equal(tokens, drawn(logits, seed=5))
    assert not torch.equal(tokens, drawn(logits, seed=6))
    assert not torch.equal(tokens[0], tokens[1])
    assert len(tokens[0].unique()) > 10  # and steps differ


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, 2**64, 10**30])
def test_no_seed_overflows(seed: int) -> None:
    """Hugging Face's generate crashed on seeds that were too large: issue 9466."""
    assert drawn(torch.zeros(3, 50), seed=seed).shape == (3, 20)


def test_a_row_draws_alone_what_it_draws_in_a_batch() -> None:
    logits = torch.randn(3, 50, generator=torch.Generator().manual_seed(0))
    for row in range(3):
        alone = drawn(logits[row : row + 1], seed=5 + row)
        assert torch.equal(alone[0], drawn(logits, seed=5)[row])


def test_the_global_random_state_is_not_touched() -> None:
    state = torch.get_rng_state()
    drawn(torch.zeros(3, 50), seed=5)
    assert torch.equal(state, torch.get_rng_state())


def test_greedy_takes_the_likeliest_and_forbidden_tokens_are_never_drawn() -> None:
    assert Sampler(GREEDY, rows=1).choose(LOGITS).tolist() == [2]
    logits = torch.full((500, 4), -math.inf)
    logits[:, [1, 3]] = 0
    assert set(Sampler(Sampling(), rows=500).choose(logits).tolist()) == {1, 3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1.0}, "temperature: -1.0"),
        ({"temperature": math.inf}, "temperature: inf"),
        ({"top_k": 0}, "top_k: 0"),
        ({"top_p": 0.0}, "top_p: 0.0"),
        ({"top_p": 1.5}, "top_p: 1.5"),
    ],
)
def test_impossible_values_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**values)


def test_a_sampler_serves_its_own_rows() -> None:
    with pytest.raises(ValueError, match="1 rows; the sampler has 2"):
        Sampler(GREEDY, rows=2).choose(LOGITS)
