"""The Transformer: shapes, causality, what it costs, what it refuses."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from models.model import Size
from models.transformer import MODEL, ModelConfig, Transformer, TransformerOptions
from models.variant import VARIANTS, Unsupported

SIZE = Size(vocab=11, d_model=16, heads=2, d_ff=24, layers=2, max_len=70, causal=True)


def config(**values: Any) -> ModelConfig:
    sizes = {"vocab": 11, "d_model": 16, "heads": 2, "d_ff": 24, "layers": 2, "max_len": 70}
    return ModelConfig(**{**sizes, **values})


def tokens(length: int = 65) -> torch.Tensor:
    return torch.randint(0, 11, (2, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("attention", VARIANTS.names())
def test_any_variant_trains_and_repeats_its_evaluation(
    attention: str, causal: bool, dtype: torch.dtype
) -> None:
    variant = VARIANTS.load(attention)
    if not (variant.causal if causal else variant.bidirectional):
        return
    try:
        model = Transformer(config(attention=attention, causal=causal, dropout=0.1)).to(dtype)
        logits = model(tokens())
    except Unsupported as reason:  # a peer that would be wrong in it or is missing, and says so
        if "bfloat16" in str(reason):
            return
        pytest.skip(str(reason))
    assert logits.shape == (2, 65, 11)
    assert logits.dtype == dtype
    logits.float().logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    model.eval()
    assert torch.equal(model(tokens()), model(tokens()))


def test_a_decoder_does_not_read_ahead_and_an_encoder_does() -> None:
    changed = tokens().clone()
    changed[:, 40] = (changed[:, 40] + 1) % 11
    for causal in (True, False):
        model = Transformer(config(causal=causal)).double()
        difference = (model(tokens()) - model(changed)).abs().amax((0, 2))
        assert (difference[40:] > 0).all()
        assert (difference[:40] > 0).any() != causal


def test_sections_of_the_feed_forward_network_change_no_gradient() -> None:
    gradients = []
    for section in (None, 16):
        torch.manual_seed(0)
        model = Transformer(config(ff_section=section)).double()
        loss = model(tokens()).logsumexp(-1).sum()
        gradients.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("name", "impl", "section"),
    [
        ("full", "eager", None),
        ("full", "eager", 16),
        ("local", "chunked", None),
        ("lsh", "chunked", None),
    ],
)
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
def test_cost_is_what_the_counter_sees(
    name: str, impl: str, section: int | None, activation: str
) -> None:
    variant = VARIANTS.load(name)
    options = TransformerOptions(ff_section=section, activation=activation)
    model = MODEL.build(SIZE, options, variant, variant.options(), impl)
    cost = MODEL.cost(SIZE, options, variant, variant.options(), impl, 2, 65, 4)
    with FlopCounterMode(display=False) as forward:
        logits = model(tokens())
    assert forward.get_total_flops() == cost.executed_flops
    with FlopCounterMode(display=False) as training:
        model(tokens()).sum().backward()
    assert training.get_total_flops() == cost.train_executed_flops
    assert logits.shape == (2, 65, 11)


def test_model_flops_are_weights_times_tokens_and_exact_pairs() -> None:
    variant = VARIANTS.load("full")
    model = MODEL.build(SIZE, TransformerOptions(), variant, variant.options(), "sdpa")
    named = model.named_parameters()
    matrices = sum(p.numel() for n, p in named if p.ndim == 2 and not n.startswith("embedding"))
    pairs = 2 * 2 * 65 * 66 // 2  # layers x heads x pairs
    cost = MODEL.cost(SIZE, TransformerOptions(), variant, variant.options(), "sdpa", 3, 65, 2)
    assert cost.model_flops == 2 * 3 * 65 * matrices + 3 * 4 * pairs * 8
    assert cost.train_model_flops == 3 * cost.model_flops
    assert cost.state_bytes == 2 * 3 * 65 * 2 * 16 * 2  # layers, batch, time, k and v, width, bytes


def test_the_door_takes_a_variant_that_is_in_no_catalog() -> None:
    variant = replace(VARIANTS.load("full"), impls=("eager",))
    model = MODEL.build(SIZE, TransformerOptions(), variant, variant.options(), "auto")
    assert model(tokens()).shape == (2, 65, 11)
    assert MODEL.attention == "full"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"heads": 3}, "heads: 3 do not divide d_model 16"),
        ({"layers": 0}, "layers: 0; at least 1"),
        ({"dropout": 1.0}, "dropout: 1.0"),
        ({"positions": "rotery"}, "unknown positions 'rotery'"),
        ({"activation": "relo"}, "did you mean 'relu'"),
        ({"attention": "fall"}, "did you mean 'full'"),
        ({"attention": "local", "attention_options": {"chunks": 4}}, "did you mean 'chunk'"),
        ({"axial_shape": (8, 8)}, "holds 64 positions, max_len is 70"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_sentence(
    values: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Transformer(config(**values))


def test_heads_need_not_divide_the_width_if_their_own_is_given() -> None:
    model = Transformer(config(heads=3, head_dim=4))
    assert model(tokens()).shape == (2, 65, 11)


def test_a_sequence_beyond_max_len_is_refused() -> None:
    with pytest.raises(ValueError, match="holds 70"):
        Transformer(config(positions="learned"))(tokens(71))
