"""Beam search: it finds what there is to find, with the scores that continuations have."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.generation import Decodes, beam_search, generate
from models.heads import CausalLM
from models.layers.beams import BeamSearch
from models.layers.cache import Cache
from models.reformer import Reformer, ReformerConfig

VOCAB, EOS, PAD = 4, 0, 9


class Recurrent(nn.Module):
    """The smallest thing with a cache: `s' = tanh(A s + e(token))`, logits `B s'`."""

    def __init__(self, *, seed: int = 0) -> None:
        super().__init__()
        draws = torch.Generator().manual_seed(seed)
        sizes = [(8, 8), (VOCAB, 8), (8, VOCAB)]
        self.carry, self.embedding, self.head = (
            torch.randn(size, generator=draws, dtype=torch.float64) for size in sizes
        )
        self.dropout = nn.Dropout(0.5)
        self.read: list[int] = []  # rows of each step
        self.longest = 60

    def begin(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Cache]:
        state = torch.zeros(len(tokens), 8, dtype=torch.float64)
        for t in range(tokens.shape[1]):
            longer = self._next(tokens[:, t], state)
            state = longer if mask is None else torch.where(mask[:, t, None], longer, state)
        return self._read(state, torch.full((len(tokens),), tokens.shape[1]))

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        state = self._next(tokens.clamp(max=VOCAB - 1), cache.states[0])
        return self._read(state, cache.length + 1)

    def reorder(self, cache: Cache, rows: Tensor) -> Cache:
        return Cache(states=(cache.states[0][rows],), length=cache.length[rows], room=cache.room)

    def _read(self, state: Tensor, length: Tensor) -> tuple[Tensor, Cache]:
        self.read.append(len(state))
        cache = Cache(states=(state,), length=length, room=self.longest - int(length.max()))
        return self.dropout(state) @ self.head, cache

    def _next(self, tokens: Tensor, state: Tensor) -> Tensor:
        return torch.tanh(state @ self.carry + self.embedding[tokens])


PROMPT = torch.tensor([[1, 2], [3, 1], [2, 2]])
PADDED = torch.tensor([[1, 3, 2, 1, 3], [PAD, PAD, 1, 2, 2], [PAD, PAD, PAD, PAD, 3]])


def score(model: Recurrent, prompt: Tensor, tokens: tuple[int, ...], alpha: float) -> float:
    """Return log P(tokens | prompt) over the length penalty, one token after the other."""
    logits, cache = model.eval().begin(prompt[None])
    total = 0.0
    for token in tokens:
        total += float(logits.log_softmax(-1)[0, token])
        logits, cache = model.step(torch.tensor([token]), cache)
    return total / ((5 + len(tokens)) / 6) ** alpha


def continuations(longest: int) -> list[tuple[int, ...]]:
    """Return every continuation: ended by EOS, or without it and of full length."""
    return [
        tokens
        for n in range(1, longest + 1)
        for tokens in itertools.product(range(VOCAB), repeat=n)
        if EOS not in tokens[:-1] and (n == longest or tokens[-1] == EOS)
    ]


def test_the_protocol_is_what_a_decoder_has() -> None:
    assert isinstance(Recurrent(), Decodes)


@pytest.mark.parametrize("alpha", [0.0, 0.6, 3.0])
def test_beam_search_with_enough_beams_is_exhaustive_search(alpha: float) -> None:
    model, longest = Recurrent(), 4
    everything = continuations(longest)
    found = beam_search(
        model,
        PROMPT,
        beams=len(everything) + 3,
        max_new_tokens=longest,
        length_penalty=alpha,
        eos=EOS,
        pad=PAD,
    )
    for row, prompt in enumerate(PROMPT):
        scores = {tokens: score(model, prompt, tokens, alpha) for tokens in everything}
        expected = sorted(everything, key=lambda tokens: -scores[tokens])
        for place, tokens in enumerate(expected):
            length = int(found.lengths[row, place])
            assert tuple(found.tokens[row, place, :length].tolist()) == tokens
            assert (found.tokens[row, place, length:] == PAD).all()
            assert abs(float(found.scores[row, place]) - scores[tokens]) < 1e-12
        assert (found.scores[row, len(everything) :] == -math.inf).all()
        assert (found.lengths[row, len(everything) :] == 0).all()
        assert (found.tokens[row, len(everything) :] == PAD).all()


def test_a_length_penalty_makes_long_continuations_win() -> None:
    lengths = []
    for alpha in (0.0, 8.0):
        found = beam_search(
            Recurrent(), PROMPT, beams=30, max_new_tokens=5, length_penalty=alpha, eos=EOS
        )
        lengths.append(found.lengths[:, 0])
    assert (lengths[1] >= lengths[0]).all()
    assert lengths[1].sum() > lengths[0].sum()


def test_scores_of_a_narrow_search_are_those_of_its_continuations() -> None:
    """A cache that beams do not take along gives other scores: Hugging Face issue 46612."""
    model = Recurrent(seed=1)
    found = beam_search(model, PROMPT, beams=3, max_new_tokens=8, length_penalty=1.0, eos=EOS)
    for row, prompt in enumerate(PROMPT):
        for place in range(3):
            tokens = found.tokens[row, place, : int(found.lengths[row, place])].tolist()
            again = score(model, prompt, tuple(tokens), 1.0)
            assert abs(float(found.scores[row, place]) - again) < 1e-12
    assert (found.scores.diff(dim=1) <= 0).all()


def test_one_beam_without_an_end_is_greedy() -> None:
    model = Recurrent(seed=2)
    greedy = generate(model, PROMPT, max_new_tokens=7)
    beam = beam_search(model, PROMPT, beams=1, max_new_tokens=7)
    assert torch.equal(greedy.tokens, beam.tokens[:, 0])
    assert beam.lengths.tolist() == [[7], [7], [7]]


def test_more_beams_never_find_less() -> None:
    best = [
        beam_search(Recurrent(), PROMPT, beams=k, max_new_tokens=5, eos=EOS).scores[:, 0]
        for k in (1, 200)
    ]
    assert (best[1] >= best[0]).all()


def test_beam_search_stops_when_the_best_are_known() -> None:
    model = Recurrent()
    model.head[:, EOS] = 0
    model.head *= 1e-3  # nearly uniform: what goes on loses a factor of four a step
    beam_search(model, PROMPT, beams=2, max_new_tokens=50, eos=EOS)
    assert len(model.read) < 5


def test_a_search_goes_on_while_a_longer_continuation_can_still_win() -> None:
    """Its log-probability can only fall, and yet its score rises with its length penalty."""
    search = BeamSearch(
        rows=1, beams=1, longest=10, eos=EOS, alpha=3.0, pad=PAD, device=torch.device("cpu")
    )
    search.advance(torch.tensor([[0.5, 0.5]]).log())
    assert not search.decided
    while not search.decided:
        search.advance(torch.tensor([[1e-9, 1.0]]).log())
    found = search.hypotheses()
    assert found.tokens.tolist() == [[[1] * 10]]
    assert abs(float(found.scores) - math.log(0.5) / (15 / 6) ** 3) < 1e-6


def language_model(attention: str) -> CausalLM:
    torch.manual_seed(0)
    options = {"full": {}, "local": {"chunk": 4}, "lsh": {"chunk": 4, "strict": True, "buckets": 4}}
    config = ReformerConfig(
        vocab=VOCAB,
        d_model=16,
        heads=2,
        d_ff=24,
        layers=2,
        max_len=40,
        attention=[attention],
        attention_options={attention: options[attention]},
        init_std=0.5,
    )
    return CausalLM(Reformer(config)).double()


@pytest.mark.parametrize("attention", ["full", "local", "lsh"])
def test_beam_search_over_a_network_is_exhaustive_with_enough_beams(attention: str) -> None:
    """The scores are those of full forwards: no beam reads the cache of another."""
    model, mask = language_model(attention), PADDED != PAD
    prompt = PADDED.masked_fill(~mask, 0)
    everything = continuations(3)
    found = beam_search(model, prompt, mask=mask, beams=len(everything), max_new_tokens=3, eos=EOS)
    model.eval()
    for row in range(3):
        padded = [(*tokens, *[EOS] * (3 - len(tokens))) for tokens in everything]
        prompts = prompt[row, mask[row]].expand(len(everything), -1)
        with torch.no_grad():
            logits = model(torch.cat([prompts, torch.tensor(padded)], dim=1))
        logs = logits[:, prompts.shape[1] - 1 : -1].log_softmax(-1)
        logs = logs.gather(2, torch.tensor(padded).unsqueeze(2)).squeeze(2)
        scores = [float(line[: len(y)].sum()) for line, y in zip(logs, everything, strict=True)]
        order = sorted(range(len(everything)), key=lambda number: -scores[number])
        for place, number in enumerate(order):
            length = int(found.lengths[row, place])
            assert tuple(found.tokens[row, place, :length].tolist()) == everything[number]
            assert abs(float(found.scores[row, place]) - scores[number]) < 1e-12


def test_more_tokens_than_positions_are_refused_before_the_first_is_made() -> None:
    model = Recurrent()
    model.longest = 6
    assert beam_search(model, PROMPT, beams=2, max_new_tokens=5).tokens.shape == (3, 2, 5)
    model.read.clear()
    with pytest.raises(ValueError, match="5 more tokens; the position encoding holds 4 more"):
        beam_search(model, PROMPT, beams=2, max_new_tokens=6)
    assert len(model.read) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens: 0"),
        ({"beams": 0}, "beams: 0"),
        ({"length_penalty": -1.0}, "length_penalty: -1.0"),
        ({"length_penalty": math.nan}, "length_penalty: nan"),
    ],
)
def test_a_search_for_nothing_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        beam_search(Recurrent(), PROMPT, **{"beams": 1, "max_new_tokens": 1, **values})
