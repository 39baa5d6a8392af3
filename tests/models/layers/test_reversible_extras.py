"""Extra arguments of a stack: masks reach the sublayers, an encoder's output gets its gradient."""

import pytest
import torch
from torch import Tensor, nn

from models.layers.reversible import ReversibleStack
from models.layers.sublayer import Sectioned, Sublayer

WIDTH = 6


class Reading(nn.Module):
    """Attention to another sequence, without the masked part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.key = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(
        self, x: Tensor, context: Tensor | None = None, context_mask: Tensor | None = None
    ) -> Tensor:
        if context is None:
            return torch.tanh(self.key(x))
        scores = x @ self.key(context).mT
        if context_mask is not None:
            scores = scores.masked_fill(~context_mask[:, None], -torch.inf)
        return torch.softmax(scores, dim=-1) @ context


class Masked(nn.Module):
    """Mixes the tokens that a mask shows, times a number that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor, mask: Tensor, factor: float) -> Tensor:
        return factor * self.linear(x * mask.unsqueeze(-1)).cumsum(1) / x.shape[1]


def pair() -> tuple[ReversibleStack, ReversibleStack]:
    torch.manual_seed(0)
    modules: list[nn.Module] = []
    for _ in range(3):
        modules += [
            Sublayer(Masked(), d_model=WIDTH, dropout=0.2, takes=("mask", "factor")),
            Sublayer(Reading(), d_model=WIDTH, takes=("context", "context_mask")),
            Sectioned(Sublayer(nn.Linear(WIDTH, WIDTH), d_model=WIDTH), section=4),
        ]
    modules = [m.double() for m in modules]
    return ReversibleStack(modules), ReversibleStack(modules, keep_activations=True)


def masks() -> tuple[Tensor, Tensor]:
    mask, context_mask = torch.ones(2, 9).bool(), torch.ones(2, 5).bool()
    mask[0, :3] = context_mask[1, 2:] = False
    return mask, context_mask


@pytest.mark.parametrize("wanted", [True, False])
def test_gradients_of_an_encoders_output_add_up_over_the_layers(wanted: bool) -> None:
    x = torch.randn(2, 9, WIDTH).double().requires_grad_()
    encoded = torch.randn(2, 5, WIDTH).double().requires_grad_(wanted)
    mask, context_mask = masks()
    found: list[tuple[Tensor, ...]] = []
    for stack in pair():
        leaves = [x, *stack.parameters(), *([encoded] if wanted else [])]
        torch.manual_seed(1)
        a, b = stack(x, mask=mask, context=encoded, context_mask=context_mask, factor=0.5)
        found.append(torch.autograd.grad((a * b).sum(), leaves))
    for one, other in zip(*found, strict=True):
        assert (one - other).norm() <= 1e-9 * other.norm()
        assert other.any()


def test_an_encoder_below_is_trained_through_the_decoder() -> None:
    torch.manual_seed(0)
    encoder = ReversibleStack([Sublayer(nn.Linear(WIDTH, WIDTH), d_model=WIDTH).double()] * 2)
    source, x = torch.randn(2, 5, WIDTH).double(), torch.randn(2, 9, WIDTH).double()
    found = []
    for decoder in pair():
        torch.manual_seed(1)
        encoded = sum(encoder(source))
        a, b = decoder(x, mask=masks()[0], context=encoded, factor=0.5)
        found.append(torch.autograd.grad((a * b).sum(), list(encoder.parameters())))
    torch.testing.assert_close(*found, rtol=1e-9, atol=1e-9)


def test_masked_tokens_send_and_get_nothing() -> None:
    mask, context_mask = masks()
    x = torch.randn(2, 9, WIDTH).double()
    encoded = torch.randn(2, 5, WIDTH).double().requires_grad_()
    stack, _ = pair()
    a, b = stack(x, mask=mask, context=encoded, context_mask=context_mask, factor=0.5)
    (gradient,) = torch.autograd.grad((a * b).sum(), encoded)
    assert not gradient[1, 2:].any()
    assert gradient[0].any()


def test_none_is_as_good_as_no_argument() -> None:
    stack, _ = pair()
    x, mask = torch.randn(2, 9, WIDTH).double(), masks()[0]
    found = stack.eval()(x, mask=mask, factor=1.0)
    expected = stack(x, mask=mask, factor=1.0, context=None, context_mask=None)
    torch.testing.assert_close(found, expected)
