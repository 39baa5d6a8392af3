"""Translation: what the target sees of the source, gradients, decoding, and that it learns."""

import itertools
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from models.generation import Decodes, beam_search, generate
from models.layers.sublayer import Sublayer
from models.reformer import ReformerConfig

VOCAB, START, EOS = 9, 1, 2
SOURCE = torch.randint(3, VOCAB, (3, 12), generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(2, VOCAB, (3, 10), generator=torch.Generator().manual_seed(1))
SOURCE_MASK = torch.ones(3, 12, dtype=torch.bool)
SOURCE_MASK[0, 7:], SOURCE_MASK[1, :4] = False, False  # padding on the right, on the left
TARGET_MASK = torch.ones(3, 10, dtype=torch.bool)
TARGET_MASK[2, 6:] = False
BOTH = (SOURCE, TARGET, SOURCE_MASK, TARGET_MASK)
MIX: dict[str, Any] = {
    "attention": ["local", "lsh", "full"],
    "attention_options": {"local": {"chunk": 4}, "lsh": {"chunk": 4, "hashes": 2}},
}
EXACT: dict[str, Any] = {"attention": ["full"]}


def config(
    *, decoder: dict[str, Any] | None = None, share_embedding: bool = True, **values: Any
) -> EncoderDecoderConfig:
    sizes: dict[str, Any] = {
        "vocab": VOCAB,
        "d_model": 16,
        "heads": 2,
        "d_ff": 24,
        "layers": 3,
        "max_len": 20,
        "init_std": 0.2,
        "ff_section": 4,
        "loss_section": 4,
        **values,
    }
    return EncoderDecoderConfig(
        encoder=ReformerConfig(**sizes, causal=False),
        decoder=ReformerConfig(**{**sizes, **(decoder or {})}),
        start=START,
        share_embedding=share_embedding,
    )


def model(**values: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    return EncoderDecoder(config(**values)).double().eval()


def changed(tokens: Tensor, place: int) -> Tensor:
    other = tokens.clone()
    other[:, place] = 3 + (other[:, place] - 2) % (VOCAB - 3)
    assert (other[:, place] != tokens[:, place]).all()
    return other


@torch.no_grad()
def test_every_target_place_sees_every_source_place() -> None:
    """There is no cross-attention in Hugging Face's Reformer: issues 4225 and 8670."""
    network = model(**EXACT)
    logits = network(SOURCE, TARGET)
    for place in range(SOURCE.shape[1]):
        difference = (network(changed(SOURCE, place), TARGET) - logits).abs().amax(-1)
        assert (difference > 1e-6).all()


@torch.no_grad()
@pytest.mark.parametrize("values", [EXACT, MIX], ids=["exact", "mix"])
def test_padding_of_the_source_is_never_seen(values: dict[str, Any]) -> None:
    network = model(**values)
    logits = network(SOURCE, TARGET, SOURCE_MASK)
    other = torch.where(SOURCE_MASK, SOURCE, 3 + (SOURCE - 2) % (VOCAB - 3))
    assert not torch.equal(other, SOURCE)
    torch.testing.assert_close(network(other, TARGET, SOURCE_MASK), logits, rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_padded_sentence_is_translated_as_it_is_alone() -> None:
    network = model(**EXACT)
    logits = network(*BOTH)
    for row in range(3):
        source = SOURCE[row, SOURCE_MASK[row]].unsqueeze(0)
        target = TARGET[row, TARGET_MASK[row]].unsqueeze(0)
        alone = network(source, target)[0]
        torch.testing.assert_close(logits[row, : target.shape[1]], alone, rtol=0, atol=1e-12)


@torch.no_grad()
def test_no_target_place_sees_itself_or_what_follows() -> None:
    network = model(**EXACT)
    logits = network(SOURCE, TARGET)
    for place in range(TARGET.shape[1]):
        difference = (network(SOURCE, changed(TARGET, place)) - logits).abs().amax((0, 2))
        assert (difference[: place + 1] == 0).all()
        assert (difference[place + 1 :] > 0).all()


@pytest.mark.parametrize("dropout", [0.0, 0.2])
@pytest.mark.parametrize("combine", ["mean", "concatenate"])
def test_gradients_are_those_of_plain_autograd(combine: str, dropout: float) -> None:
    """The context's gradient is the sum over the layers, and reaches every encoder weight."""
    gradients: list[tuple[Tensor, ...]] = []
    for save in (True, False):
        network = model(**MIX, dropout=dropout, reversible=save, decoder={"combine": combine})
        torch.manual_seed(2)
        loss = network.train().loss(*BOTH)
        gradients.append(torch.autograd.grad(loss, list(network.parameters())))
    for found, expected in zip(*gradients, strict=True):
        assert expected.norm() > 0
        assert (found - expected).norm() < 1e-9 * expected.norm()


@torch.no_grad()
def test_the_loss_is_the_cross_entropy_of_the_targets_that_are_no_padding() -> None:
    network = model(**EXACT)
    logits = network(*BOTH)
    chosen = logits.log_softmax(-1).gather(2, TARGET.unsqueeze(2)).squeeze(2)
    expected = -chosen[TARGET_MASK].mean()
    loss = network.loss(*BOTH)
    assert abs(float(loss - expected)) < 1e-12
    smooth = network.loss(*BOTH, label_smoothing=0.1)
    uniform = -logits.log_softmax(-1).mean(-1)[TARGET_MASK].mean()
    assert abs(float(smooth - 0.9 * expected - 0.1 * uniform)) < 1e-12


@torch.no_grad()
@pytest.mark.parametrize("values", [{}, {"combine": "concatenate"}, {"positions": "rotary"}])
@pytest.mark.parametrize("kinds", [["full"], ["local"], ["full", "local"]], ids="-".join)
def test_steps_are_the_rows_of_the_forward(kinds: list[str], values: dict[str, Any]) -> None:
    decoder = {"attention": kinds, **values}
    decoder["attention_options"] = {"local": {"chunk": 4}} if "local" in kinds else {}
    network = model(decoder=decoder, attention=["full"])
    expected = network(SOURCE, TARGET, SOURCE_MASK)
    logits, cache = network.begin(SOURCE, SOURCE_MASK)
    torch.testing.assert_close(logits, expected[:, 0], rtol=0, atol=1e-12)
    for place in range(TARGET.shape[1] - 1):
        logits, cache = network.step(TARGET[:, place], cache)
        torch.testing.assert_close(logits, expected[:, place + 1], rtol=0, atol=1e-12)


@torch.no_grad()
def test_the_source_is_encoded_and_projected_once() -> None:
    network = model(**EXACT)
    lengths: list[int] = []
    for part in network.stack.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    _, cache = network.begin(SOURCE, SOURCE_MASK)
    assert lengths.count(SOURCE.shape[1]) == 2 * 3  # keys and values of three layers
    lengths.clear()
    network.step(TARGET[:, 0], cache)
    assert set(lengths) == {1}


@torch.no_grad()
def test_a_step_costs_as_much_after_many_tokens_but_for_the_attention_to_them() -> None:
    network = EncoderDecoder(replace(config(**EXACT, impls={"full": "eager"}), cross_impl="eager"))
    flops: list[int] = []
    _, cache = network.begin(SOURCE)
    for place in range(9):
        with FlopCounterMode(display=False) as counter:
            _, cache = network.step(TARGET[:, place], cache)
        flops.append(counter.get_total_flops())
    growth = {later - earlier for earlier, later in itertools.pairwise(flops)}
    assert growth == {4 * 16 * 3 * 3}  # one more key and value: d_model, batch, layers


def test_beam_search_finds_the_best_of_all_translations() -> None:
    network = model(**EXACT)
    assert isinstance(network, Decodes)
    found = beam_search(
        network, SOURCE, mask=SOURCE_MASK, beams=500, max_new_tokens=3, eos=EOS, length_penalty=0.7
    )
    rows = torch.tensor(list(itertools.product(range(VOCAB), repeat=3)))
    lengths = ((rows == EOS).int().argmax(1) + 1).where((rows == EOS).any(1), 3)
    counted = torch.arange(3) < lengths[:, None]
    for row in range(3):
        with torch.no_grad():
            source = SOURCE[row, SOURCE_MASK[row]].expand(len(rows), -1)
            logs = network(source, rows).log_softmax(-1).gather(2, rows.unsqueeze(2)).squeeze(2)
        scores = (logs * counted).sum(1) / ((5 + lengths) / 6) ** 0.7
        best = int(scores.argmax())
        assert found.lengths[row, 0] == lengths[best]
        assert torch.equal(found.tokens[row, 0, : lengths[best]], rows[best, : lengths[best]])
        assert abs(float(found.scores[row, 0]) - float(scores[best])) < 1e-12


def test_source_and_target_share_one_table_or_have_two() -> None:
    shared = EncoderDecoder(config(**EXACT, tie_weights=True))
    assert shared.encoder.embedding.tokens is shared.embedding.tokens
    assert shared.head.weight is shared.embedding.tokens.weight
    own = EncoderDecoder(config(**EXACT, decoder={"vocab": 5}, share_embedding=False))
    assert own.encoder.embedding.tokens.num_embeddings == VOCAB
    assert own(SOURCE, TARGET % 5).shape == (3, 10, 5)


def test_encoder_and_decoder_may_differ_in_depth_and_kinds() -> None:
    network = EncoderDecoder(config(**MIX, decoder={"layers": 1, **EXACT, "attention_options": {}}))
    kinds = [part.takes for part in network.stack.sublayers if isinstance(part, Sublayer)]
    assert kinds == [("mask",), ("context", "context_mask")]
    assert len(network.encoder.stack.sublayers) == 6


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("encoder", {"causal": True}, "causal: encoder True, decoder True"),
        ("decoder", {"causal": False}, "causal: encoder False, decoder False"),
        ("encoder", {"combine": "concatenate"}, "output is 32 wide, d_model of the decoder 16"),
        ("decoder", {"vocab_head": False}, "the decoder needs the output projection"),
        ("decoder", {"vocab": 5}, "tables of 9 x 16 and 5 x 16"),
        (None, {"start": 9}, "start: 9"),
        (None, {"cross_impl": "chunked"}, "unknown impl of full 'chunked'"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_sentence(
    part: str | None, values: dict[str, Any], message: str
) -> None:
    good = config(**EXACT)
    change = values if part is None else {part: replace(getattr(good, part), **values)}
    with pytest.raises(ValueError, match=message):
        EncoderDecoder(replace(good, **change))


def test_it_learns_to_reverse() -> None:
    wide = {"layers": 1, "d_model": 32, "d_ff": 64, "init_std": 0.15}
    network = model(**EXACT, **wide, positions="learned", position_std=0.5).float().train()
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    draws = torch.Generator().manual_seed(1)
    for _ in range(100):
        source = torch.randint(2, VOCAB, (32, 6), generator=draws)
        optimiser.zero_grad()
        network.loss(source, source.flip(1)).backward()
        optimiser.step()
    source = torch.randint(2, VOCAB, (100, 6), generator=draws)
    found = generate(network, source, max_new_tokens=6).tokens
    assert (found == source.flip(1)).double().mean() > 0.95
