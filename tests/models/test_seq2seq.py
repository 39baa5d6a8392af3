"""Laws of the encoder-decoder as a suite names it."""

from dataclasses import replace

import pytest
import torch

from models.model import Size
from models.seq2seq import MODEL, Seq2Seq
from models.variant import VARIANTS, Unsupported

SIZE = Size(vocab=20, d_model=16, heads=2, d_ff=16, layers=1, max_len=16, causal=True)


def make(attention: str = "full", **options) -> Seq2Seq:
    torch.manual_seed(0)
    variant = VARIANTS.load(attention)
    chosen = MODEL.options(positions="learned", **options)
    found = MODEL.build(SIZE, chosen, variant, variant.options(), variant.impls[0])
    assert isinstance(found, Seq2Seq)
    return found.eval()


def tokens(seed: int = 0, length: int = 16) -> torch.Tensor:
    found = torch.randint(1, 20, (2, length), generator=torch.Generator().manual_seed(seed))
    found[:, length // 2] = 0
    return found


@pytest.mark.parametrize("attention", ["full", "local", "lsh"])
def test_a_target_is_told_by_its_source_and_what_stands_before_it(attention: str) -> None:
    model, text = make(attention), tokens()
    logits = model(text)
    assert logits.shape == (2, 16, 20)
    assert (logits[:, :8] == 0).all()
    later = text.clone()
    later[:, 12:] = 1 + later[:, 12:] % 19
    # Local and exact attention take nothing from later tokens; a hash may decide by them whom it
    # meets, so that of LSH only the shape is asked here.
    if attention != "lsh":
        torch.testing.assert_close(model(later)[:, :12], logits[:, :12])
    assert not torch.allclose(model(later)[:, 12:], logits[:, 12:])
    source = text.clone()
    source[:, 3] = 1 + source[:, 3] % 19
    assert not torch.allclose(model(source)[:, 8:], logits[:, 8:])


def test_the_logits_at_a_place_are_those_of_the_next_token() -> None:
    model, text = make(), tokens()
    expected = model.network(text[:, :8], torch.cat([text[:, 9:], text[:, -1:]], dim=1))
    torch.testing.assert_close(model(text)[:, 8:], expected)


def test_reversible_layers_give_the_same_logits() -> None:
    torch.testing.assert_close(make(reversible=True)(tokens()), make()(tokens()))


def test_one_without_a_causal_decoder_is_refused() -> None:
    variant = VARIANTS.load("full")
    size = replace(SIZE, causal=False)
    with pytest.raises(Unsupported, match="causal is true"):
        MODEL.build(size, MODEL.options(), variant, variant.options(), "sdpa")


def test_its_cost_grows_with_every_part() -> None:
    variant = VARIANTS.load("full")

    def cost(size: Size = SIZE, batch: int = 1, seq_len: int = 16, **options) -> int:
        chosen = MODEL.options(**options)
        found = MODEL.cost(size, chosen, variant, variant.options(), "eager", batch, seq_len, 4)
        assert found.train_executed_flops >= found.executed_flops >= found.model_flops
        return found.train_executed_flops

    assert cost(batch=2) == 2 * cost()
    assert cost(seq_len=32) > 2 * cost()
    assert cost(replace(SIZE, layers=2)) > cost()
    assert cost(reversible=True) > cost()
