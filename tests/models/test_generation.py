"""Continuations: when rows end, what they depend on, and that a cache changes none of them."""

from dataclasses import replace

import pytest
import torch

from models.generation import Decodes, generate
from models.heads import CausalLM
from models.layers.sampling import Sampler, Sampling
from models.reformer import Reformer, ReformerConfig

VOCAB, EOS, PAD = 4, 0, 9
PROMPT = torch.tensor([[1, 2], [3, 1], [2, 2]])
PADDED = torch.tensor([[1, 3, 2, 1, 3], [PAD, PAD, 1, 2, 2], [PAD, PAD, PAD, PAD, 3]])


def language_model(attention: str = "full", max_len: int = 40) -> CausalLM:
    torch.manual_seed(0)
    options = {"full": {}, "local": {"chunk": 4}, "lsh": {"chunk": 4, "strict": True, "buckets": 4}}
    config = ReformerConfig(
        vocab=VOCAB,
        d_model=16,
        heads=2,
        d_ff=24,
        layers=2,
        max_len=max_len,
        positions="learned",
        position_std=0.5,
        dropout=0.1,
        attention=[attention],
        attention_options={attention: options[attention]},
        init_std=0.5,
    )
    return CausalLM(Reformer(config)).double()


def test_the_protocol_is_what_a_decoder_has() -> None:
    assert isinstance(language_model(), Decodes)


@pytest.mark.parametrize("attention", ["full", "local", "lsh"])
def test_a_network_continues_padded_prompts_as_if_it_read_all_again_at_each_token(
    attention: str,
) -> None:
    """Hugging Face drops the attention mask in `generate`, and its cache serves row 0 only."""
    model, mask = language_model(attention), PADDED != PAD
    prompt = PADDED.masked_fill(~mask, 0)
    sampling = Sampling(seed=11, top_k=3, temperature=1.5)
    found = generate(model, prompt, mask=mask, max_new_tokens=12, sampling=sampling).tokens
    assert model.training
    model.eval()
    for row in range(3):
        sampler = Sampler(replace(sampling, seed=11 + row), rows=1)
        tokens = prompt[row, mask[row]].unsqueeze(0)
        for place in range(12):
            with torch.no_grad():
                token = sampler.choose(model(tokens)[:, -1])
            assert token.item() == found[row, place]
            tokens = torch.cat([tokens, token.unsqueeze(1)], dim=1)


def test_a_row_ends_at_its_eos_and_the_others_go_on() -> None:
    model = language_model()
    found = generate(model, PROMPT, max_new_tokens=30, eos=EOS, pad=PAD, sampling=Sampling(seed=7))
    assert len(set(found.lengths.tolist())) > 1
    for row, length in enumerate(found.lengths.tolist()):
        tokens = found.tokens[row]
        assert EOS not in tokens[: length - 1]
        assert length == tokens.shape[0] or tokens[length - 1] == EOS
        assert (tokens[length:] == PAD).all()
    assert found.tokens.shape[1] == found.lengths.max()  # and the batch with its last row
    without = generate(model, PROMPT, max_new_tokens=30, sampling=Sampling(seed=7))
    assert without.lengths.tolist() == [30, 30, 30]
    for row, length in enumerate(found.lengths.tolist()):
        assert torch.equal(without.tokens[row, :length], found.tokens[row, :length])


@pytest.mark.parametrize("sampling", [Sampling(temperature=0.0), Sampling(seed=3, top_k=3)])
def test_a_row_is_continued_alone_as_in_a_batch(sampling: Sampling) -> None:
    model = language_model()
    together = generate(model, PROMPT, max_new_tokens=12, sampling=sampling).tokens
    for row in range(3):
        own = replace(sampling, seed=sampling.seed + row)
        alone = generate(model, PROMPT[row : row + 1], max_new_tokens=12, sampling=own).tokens
        assert torch.equal(alone[0], together[row])


def test_a_longer_continuation_begins_with_the_shorter() -> None:
    model = language_model()
    short, long = (generate(model, PROMPT, max_new_tokens=n, sampling=Sampling()) for n in (5, 9))
    assert torch.equal(short.tokens, long.tokens[:, :5])


def test_parts_in_training_and_in_evaluation_stay_what_they_were() -> None:
    model = language_model().train()
    model.body.embedding.eval()  # a part that its owner keeps in evaluation stays there
    before = [part.training for part in model.modules()]
    runs = [generate(model, PROMPT, max_new_tokens=9).tokens for _ in range(2)]
    assert torch.equal(*runs)  # without dropout
    assert [part.training for part in model.modules()] == before


def test_more_tokens_than_positions_are_refused_before_the_first_is_made() -> None:
    model, steps = language_model(max_len=6), []
    model.body.norm.register_forward_hook(lambda *_: steps.append(1))
    assert generate(model, PROMPT, max_new_tokens=5).tokens.shape == (3, 5)
    steps.clear()
    with pytest.raises(ValueError, match="5 more tokens; the position encoding holds 4 more"):
        generate(model, PROMPT, max_new_tokens=6)
    assert len(steps) == 1
    with pytest.raises(ValueError, match="max_new_tokens: 0"):
        generate(model, PROMPT, max_new_tokens=0)
