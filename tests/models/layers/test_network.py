"""What every network does around its layers: masks, positions, loss, output projection."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.layers.loss import IGNORED
from models.layers.network import Network
from models.reformer import Reformer, ReformerConfig
from models.transformer import ModelConfig, Transformer
from models.variants.lsh import LSHAttention

SIZES = {"vocab": 53, "d_model": 8, "heads": 2, "d_ff": 12, "layers": 2, "max_len": 80}
Build = Callable[..., Network]


def reformer(**values: Any) -> Network:
    torch.manual_seed(0)
    options = {"lsh": {"hashes": 2, "chunk": 8, "buckets": 4}}
    return Reformer(ReformerConfig(**{**SIZES, "attention_options": options, **values})).double()


def transformer(**values: Any) -> Network:
    torch.manual_seed(0)
    return Transformer(ModelConfig(**{**SIZES, **values})).double()


every_network = pytest.mark.parametrize("build", [reformer, transformer])


def tokens(length: int = 45) -> Tensor:
    return torch.randint(0, 53, (2, length), generator=torch.Generator().manual_seed(0))


@every_network
@pytest.mark.parametrize("section", [None, 7, 100])
def test_the_loss_is_the_cross_entropy_of_the_logits(build: Build, section: Any) -> None:
    model = build(loss_section=section, dropout=0.2)
    targets = tokens().roll(-1, 1)
    targets[:, -1] = IGNORED
    leaves = list(model.parameters())
    torch.manual_seed(1)
    found = model.loss(tokens(), targets, label_smoothing=0.1)
    torch.manual_seed(1)
    logits = model(tokens()).flatten(0, 1)
    expected = cross_entropy(logits, targets.flatten(), label_smoothing=0.1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-9,
        atol=1e-12,
    )


@every_network
def test_training_never_makes_the_logits_of_all_tokens(build: Build, allocations: Any) -> None:
    model = build(loss_section=4, vocab=501)
    with allocations() as step:
        model.loss(tokens() % 50, tokens()).backward()
    assert step.largest < 2 * 45 * 501
    assert build().config.loss_section == (512 if build is reformer else None)


@every_network
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("positions", ["axial", "learned", "sinusoidal", "rotary"])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing_for_tokens(
    build: Build, positions: str, side: str, causal: bool
) -> None:
    model = build(positions=positions, causal=causal)
    padding = torch.full((2, 6), 3)
    order = [padding, tokens()] if side == "left" else [tokens(), padding]
    valid = slice(6, None) if side == "left" else slice(0, 45)
    mask = torch.zeros(2, 51, dtype=torch.bool)
    mask[:, valid] = True
    padded = torch.cat(order, dim=1)
    torch.testing.assert_close(
        model.hidden(padded, mask=mask)[:, valid], model.hidden(tokens()), rtol=1e-9, atol=1e-9
    )
    targets = torch.where(mask, padded, 1)
    torch.testing.assert_close(
        model.loss(padded, targets, mask=mask), model.loss(tokens(), tokens())
    )


@every_network
def test_positions_may_be_given(build: Build) -> None:
    model = build(positions="learned")
    ids = torch.arange(45).expand(2, -1)
    assert torch.equal(model(tokens(), positions=ids), model(tokens()))
    assert not torch.allclose(model(tokens(), positions=ids + 9), model(tokens()))


@every_network
@pytest.mark.parametrize(
    "mask", [torch.ones(2, 45).long(), torch.ones(2, 44).bool(), torch.ones(45).bool()]
)
def test_what_is_no_mask_is_refused(build: Build, mask: Tensor) -> None:
    hidden = type(build()).hidden
    plain = getattr(hidden, "__wrapped__", hidden)  # without the types of the signature
    with pytest.raises(ValueError, match=r"mask: torch.* it is torch.bool \(2, 45\)"):
        plain(build(), tokens(), mask=mask)


@every_network
def test_the_output_projection_may_be_tied_biased_or_missing(build: Build) -> None:
    tied = build(tie_weights=True, head_bias=True)
    assert isinstance(tied.head, nn.Linear)
    assert tied.head.weight is tied.get_parameter("embedding.tokens.weight")
    assert tied.head.bias.shape == (53,)
    tied.loss(tokens(), tokens()).backward()
    body = build(vocab_head=False)
    assert torch.equal(body(tokens()), body.hidden(tokens()))
    count = [sum(p.numel() for p in model.parameters()) for model in (build(), body, tied)]
    assert count[0] - count[1] == 53 * 8
    assert count[2] - count[1] == 53


@every_network
def test_weights_have_the_spread_that_is_asked_for(build: Build) -> None:
    model = build(d_model=64, init_std=0.3, position_std=1.0, norm_eps=1e-12)
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            expected = 1.0 if "positions" in name else 0.3
            assert float(weight.detach().std()) == pytest.approx(expected, rel=0.2)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 5
    assert {norm.eps for norm in norms} == {1e-12}


@every_network
@pytest.mark.parametrize("positions", ["rotary", "sinusoidal"])
def test_positions_without_a_table_take_any_length(build: Build, positions: str) -> None:
    model = build(positions=positions, max_len=4)
    assert model(tokens()).shape == (2, 45, 53)
    assert not any("position" in name for name, _ in model.named_parameters())
    swapped = tokens()[:, [1, 0, *range(2, 45)]]
    assert not torch.allclose(model(swapped)[:, -1], model(tokens())[:, -1], atol=1e-7)


def test_hf_gives_no_weight_a_gradient_with_frozen_embeddings_and_ours_gives_all() -> None:
    model = reformer()
    model.get_submodule("embedding").requires_grad_(False)
    model.loss(tokens(), tokens()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("embedding")


def test_hf_fails_with_another_number_of_hashes_for_one_step_and_ours_replays_it() -> None:
    found = []
    for reversible in (True, False):
        model = reformer(reversible=reversible, dropout=0.2)
        hashing = [m for m in model.modules() if isinstance(m, LSHAttention)]
        usual = hashing[0].options
        for module in hashing:
            module.options = replace(module.options, hashes=5)
        torch.manual_seed(1)
        loss = model.loss(tokens(), tokens())
        for module in hashing:
            module.options = usual
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("attention", ["lsh", "full", "local"])
def test_every_gradient_is_the_plain_one_through_the_loss(attention: str) -> None:
    """Dropout, masks, sections everywhere, several rounds: the whole training step."""
    mask = torch.ones(2, 45, dtype=torch.bool)
    mask[0, 30:] = False
    found = []
    for reversible in (True, False):
        options = {"lsh": {"hashes": 4, "chunk": 8}} if attention == "lsh" else {}
        model = reformer(
            reversible=reversible,
            attention=attention,
            attention_options=options,
            dropout=0.3,
            ff_section=7,
            loss_section=9,
        )
        torch.manual_seed(1)
        loss = model.loss(tokens(), tokens().roll(-1, 1), mask=mask)
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-9 * other.norm()
