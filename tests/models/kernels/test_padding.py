"""Tokens come first and keep their order, wherever the padding stands."""

import torch

from models.kernels.padding import extended, permute_heads, tell_apart, tokens_first, zero_padding

MASK = torch.tensor([[False, True, False, True], [True, True, False, False], [False] * 4])


def test_tokens_come_first_in_their_order_and_the_inverse_undoes_it() -> None:
    order, place = tokens_first(MASK)
    assert order.tolist() == [[1, 3, 0, 2], [0, 1, 2, 3], [0, 1, 2, 3]]
    x = torch.randn(3, 2, 4, 5)
    moved = permute_heads(x, order, place)
    assert torch.equal(moved[0, :, 0], x[0, :, 1])
    assert torch.equal(permute_heads(moved, place, order), x)


def test_padding_is_told_apart_by_a_position_behind_all_others() -> None:
    positions = torch.arange(4).expand(3, 4)
    assert tell_apart(positions, MASK).tolist() == [[4, 1, 4, 3], [0, 1, 4, 4], [4] * 4]


def test_zeros_at_padding_have_no_gradient() -> None:
    x = torch.full((3, 2, 4, 5), torch.nan, requires_grad=True)
    out = zero_padding(x, MASK & False)
    assert not out.any()
    (gradient,) = torch.autograd.grad(out.sum(), x)
    assert not gradient.any()


def test_a_new_token_is_no_padding() -> None:
    longer = extended(MASK)
    assert longer is not None
    assert longer[:, 4].all()
    assert torch.equal(longer[:, :4], MASK)
    assert extended(None) is None
