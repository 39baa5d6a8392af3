"""The loss in sections is the loss, and the logits of all tokens never exist together."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.layers.loss import IGNORED, sectioned_cross_entropy

BATCH, TIME, WIDTH, VOCAB = 2, 37, 5, 83


def problem(dtype: torch.dtype = torch.float64) -> tuple[Tensor, nn.Linear, Tensor]:
    """Return states, an output projection, and targets of which some do not count."""
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(BATCH, TIME, WIDTH, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(0, VOCAB, (BATCH, TIME), generator=generator)
    targets[0, 3:9] = targets[1, 20:] = IGNORED
    torch.manual_seed(0)
    return hidden, nn.Linear(WIDTH, VOCAB).to(dtype), targets


def plain(hidden: Tensor, head: nn.Module, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    logits = head(hidden).flatten(0, 1)
    return cross_entropy(logits, targets.flatten(), label_smoothing=smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("section", [None, 1, 8, 36, 37, 100])
def test_sections_change_neither_value_nor_gradients(section: Any, smoothing: float) -> None:
    hidden, head, targets = problem()
    leaves = (hidden, *head.parameters())
    found = sectioned_cross_entropy(
        hidden, head, targets, section=section, label_smoothing=smoothing
    )
    expected = plain(hidden, head, targets, smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-12,
        atol=1e-12,
    )
    with torch.no_grad():
        again = sectioned_cross_entropy(
            hidden, head, targets, section=section, label_smoothing=smoothing
        )
    torch.testing.assert_close(again, expected, rtol=1e-12, atol=1e-12)


def test_hf_loss_in_chunks_holds_all_logits_and_ours_never(allocations: Any) -> None:
    """Neither the forward nor the backward ever makes a tensor of batch x time x vocabulary."""
    hidden, head, targets = problem()
    with allocations() as whole:
        plain(hidden, head, targets).backward()
    assert whole.largest == BATCH * TIME * VOCAB
    with allocations() as sections:
        sectioned_cross_entropy(hidden, head, targets, section=4).backward()
    assert sections.largest == max(BATCH * 4 * VOCAB, BATCH * TIME * WIDTH)
    assert sections.peak < whole.peak / 3


def test_targets_may_be_ignored_by_another_number() -> None:
    hidden, head, targets = problem()
    found = sectioned_cross_entropy(
        hidden, head, targets.masked_fill(targets == IGNORED, 7), section=8, ignore_index=7
    )
    expected = plain(hidden, head, targets.masked_fill(targets == 7, IGNORED))
    torch.testing.assert_close(found, expected)


def test_the_loss_of_no_token_is_zero_and_moves_nothing() -> None:
    hidden, head, targets = problem()
    found = sectioned_cross_entropy(hidden, head, torch.full_like(targets, IGNORED), section=8)
    assert found == 0
    assert not torch.autograd.grad(found, hidden)[0].any()


def test_half_precision_states_have_a_loss_in_single_precision() -> None:
    hidden, head, targets = problem(torch.bfloat16)
    found = sectioned_cross_entropy(hidden, head, targets, section=8)
    assert found.dtype == torch.float32
    expected = cross_entropy(head(hidden).float().flatten(0, 1), targets.flatten())
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)
    found.backward()
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16


def test_autocast_is_entered_again_in_the_backward() -> None:
    hidden, head, targets = problem(torch.float32)
    leaves = (hidden, *head.parameters())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = sectioned_cross_entropy(hidden, head, targets, section=8)
        expected = plain(hidden, head, targets)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, leaves),
        torch.autograd.grad(expected, leaves),
        rtol=1e-2,
        atol=1e-4,
    )


def test_an_empty_section_is_refused() -> None:
    with pytest.raises(ValueError, match="section: 0"):
        sectioned_cross_entropy(*problem(), section=0)
