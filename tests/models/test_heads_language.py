"""Language modelling heads: what counts in their losses, what it takes, and that they learn."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.heads import CausalLM, MaskedLM
from models.layers.loss import IGNORED
from models.reformer import Reformer, ReformerConfig

TOKENS = torch.randint(0, 11, (3, 14), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(3, 14, dtype=torch.bool)
MASK[1, 9:], MASK[2, :6] = False, False  # padding on the right, on the left


def body(**values: Any) -> Reformer:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab": 11,
        "d_model": 16,
        "heads": 2,
        "d_ff": 24,
        "layers": 2,
        "max_len": 40,
        "causal": False,
        "attention": ["local", "full"],
        "init_std": 0.2,
        **values,
    }
    return Reformer(ReformerConfig(**sizes)).double()


@torch.no_grad()
def test_a_causal_language_model_is_scored_on_tokens_that_follow_tokens() -> None:
    head = CausalLM(body(causal=True))
    logs = head(TOKENS, MASK).log_softmax(-1)
    terms = [
        -logs[row, place, TOKENS[row, place + 1]]
        for row in range(3)
        for place in range(13)
        if MASK[row, place] and MASK[row, place + 1]
    ]
    assert len(terms) == 13 + 8 + 7
    assert abs(float(head.loss(TOKENS, MASK)) - float(torch.stack(terms).mean())) < 1e-12
    plain = -logs[0, :-1].gather(1, TOKENS[0, 1:, None]).mean()
    assert abs(float(head.loss(TOKENS[:1])) - float(plain)) < 1e-12
    assert float(head.loss(TOKENS[:, :1])) == 0  # nothing follows


@torch.no_grad()
def test_a_masked_language_model_is_scored_where_a_target_is_given() -> None:
    head = MaskedLM(body())
    targets = torch.full_like(TOKENS, IGNORED)
    targets[0, 3], targets[1, 8], targets[1, 9], targets[2, 6] = 5, 6, 7, 8  # one of them padding
    logs = head(TOKENS, MASK).log_softmax(-1)
    expected = -(logs[0, 3, 5] + logs[1, 8, 6] + logs[2, 6, 8]) / 3
    assert abs(float(head.loss(TOKENS, targets, MASK)) - float(expected)) < 1e-12
    assert float(head.loss(TOKENS, torch.full_like(TOKENS, IGNORED), MASK)) == 0


class Largest(TorchDispatchMode):
    """Remembers the most numbers that one result of an operation has."""

    most = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, tuple | list) else [out]:
            if isinstance(one, Tensor):
                self.most = max(self.most, one.numel())
        return out


@pytest.mark.parametrize("causal", [True, False])
def test_the_logits_of_all_tokens_never_exist_in_training(causal: bool) -> None:
    vocab, section = 5000, 4
    network = body(vocab=vocab, loss_section=section, causal=causal, init_std=0.02)
    with Largest() as seen:
        loss = CausalLM(network).loss(TOKENS) if causal else MaskedLM(network).loss(TOKENS, TOKENS)
        loss.backward()
    assert seen.most == max(3 * section * vocab, vocab * 16)
    with Largest() as seen:
        network(TOKENS)
    assert seen.most == 3 * 14 * vocab


def test_the_output_bias_is_added() -> None:
    """Hugging Face 5 loads `lm_head.bias` and never adds it."""
    for head in (CausalLM(body(causal=True, head_bias=True)), MaskedLM(body(head_bias=True))):
        with torch.no_grad():
            before = head(TOKENS)
            assert isinstance(head.body.head, torch.nn.Linear)
            head.body.head.bias[3] += 100
            difference = head(TOKENS) - before
        assert (difference[..., 3] - 100).abs().max() < 1e-12
        assert difference[..., :3].abs().max() == 0


def test_a_language_model_of_two_layers_learns_a_batch_by_heart() -> None:
    torch.manual_seed(0)
    config = ReformerConfig(
        vocab=16,
        d_model=32,
        heads=2,
        d_ff=64,
        layers=2,
        max_len=32,
        attention=["local", "lsh"],
        attention_options={"local": {"chunk": 8}, "lsh": {"chunk": 8, "hashes": 2}},
        positions="learned",
        position_std=0.3,
        init_std=0.15,
    )
    model = CausalLM(Reformer(config))
    tokens = torch.randint(0, 16, (4, 32), generator=torch.Generator().manual_seed(5))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        model.loss(tokens).backward()
        optimiser.step()
    assert model.loss(tokens).item() < 0.1
