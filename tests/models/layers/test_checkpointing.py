"""Checkpointed blocks are the same function, in gradients, dropout and hashes, and keep less."""

from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from models.model import Size
from models.transformer import ModelConfig, Transformer, TransformerOptions, cost
from models.variant import VARIANTS


def network(checkpointing: bool, attention: str, **options: Any) -> Transformer:
    torch.manual_seed(3)
    config = ModelConfig(
        vocab=11, d_model=16, heads=2, d_ff=32, layers=3, max_len=96, dropout=0.2,
        attention=attention, attention_options=options, checkpointing=checkpointing,
    )  # fmt: skip
    return Transformer(config).double().train()


def gradients(model: Transformer, tokens: torch.Tensor) -> list[torch.Tensor]:
    torch.manual_seed(5)
    loss = model.loss(tokens, tokens.roll(1, 1))
    return [loss.detach(), *torch.autograd.grad(loss, list(model.parameters()))]


@pytest.mark.parametrize(
    ("attention", "options"),
    [("full", {"attention_dropout": 0.1}), ("lsh", {"chunk": 8, "hashes": 2, "redraw": True})],
)
def test_gradients_are_those_of_the_plain_network(attention: str, options: dict[str, Any]) -> None:
    tokens = torch.arange(192).view(2, 96) % 11
    found = gradients(network(True, attention, **options), tokens)
    expected = gradients(network(False, attention, **options), tokens)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_fewer_tensors_are_kept() -> None:
    tokens = torch.arange(192).view(2, 96) % 11
    kept = {}
    for checkpointing in (True, False):
        sizes: list[int] = []
        model = network(checkpointing, "full")
        with saved_tensors_hooks(lambda x, sizes=sizes: sizes.append(x.nbytes) or x, lambda x: x):
            model.loss(tokens, tokens)
        kept[checkpointing] = sum(sizes)
    assert kept[True] < kept[False] / 3


def test_what_is_recomputed_is_in_the_cost() -> None:
    variant = VARIANTS.load("full")
    size = Size(vocab=11, d_model=16, heads=2, d_ff=32, layers=3, max_len=96, causal=True)
    found = cost(
        size, TransformerOptions(checkpointing=True), variant, variant.options(), "eager", 2, 96, 8
    )
    config = ModelConfig(
        vocab=11, d_model=16, heads=2, d_ff=32, layers=3, max_len=96, impl="eager",
        checkpointing=True,
    )  # fmt: skip
    tokens = torch.arange(192).view(2, 96) % 11
    with FlopCounterMode(display=False) as counter:
        Transformer(config)(tokens).sum().backward()
    assert counter.get_total_flops() == found.train_executed_flops
