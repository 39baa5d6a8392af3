"""Position encodings against tables written out, and what is refused."""

import itertools
import math
from typing import Any

import pytest
import torch

from models.catalog import UnknownNameError
from models.layers.positions import (
    AxialPositions,
    Positions,
    SinusoidalPositions,
    count_tokens,
    make_positions,
)


def make(kind: str, **values: Any) -> Positions:
    positions = make_positions(kind, **values)
    assert positions is not None
    return positions


@pytest.mark.parametrize("shape", [(6,), (2, 3), (4, 2, 3)])
def test_axial_encoding_joins_the_vectors_of_the_coordinates(shape: tuple[int, ...]) -> None:
    dims = (3, 1, 2)[: len(shape)]
    positions = AxialPositions(shape=shape, dims=dims, max_len=5)
    cells = itertools.product(*(range(n) for n in shape))  # the last axis is the fastest
    expected = [
        torch.cat([w[c] for w, c in zip(positions.weights, cell, strict=True)]) for cell in cells
    ]
    for length in (1, 5, len(expected)):
        assert torch.equal(positions(length), torch.stack(expected[:length]))


def test_axial_encoding_takes_the_sum_of_the_axes_not_their_product() -> None:
    positions = make("axial", max_len=8192, d_model=64)
    assert sum(p.numel() for p in positions.parameters()) == (128 + 64) * 32


@pytest.mark.parametrize("max_len", [1, 2, 3, 100, 1000, 1024])
def test_default_axes_hold_the_longest_sequence(max_len: int) -> None:
    encoding = make("axial", max_len=max_len, d_model=7)(max_len)
    assert encoding.shape == (max_len, 7)
    assert len(encoding.unique(dim=0)) == max_len


def test_learned_encoding_is_its_table() -> None:
    positions = make("learned", max_len=10, d_model=4)
    (table,) = positions.parameters()
    assert torch.equal(positions(7), table[:7])


@pytest.mark.parametrize("kind", ["learned", "axial"])
def test_a_sequence_that_is_too_long_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="17 tokens; the position encoding holds 16"):
        make(kind, max_len=16, d_model=4)(17)
    with pytest.raises(ValueError, match="17 tokens; the position encoding holds 16"):
        make(kind, max_len=16, d_model=4)(2, torch.tensor([[3, 16]]))


@pytest.mark.parametrize("shape", [(30,), (6, 5), (2, 3, 5)])
def test_hf_trains_axial_positions_at_full_length_only_and_ours_at_any(
    shape: tuple[int, ...],
) -> None:
    positions = AxialPositions(shape=shape, dims=(3, 1, 2)[: len(shape)], max_len=30).train()
    whole = positions(30)
    for length in range(1, 31):
        encoding = positions(length)
        assert torch.equal(encoding, whole[:length])
        encoding.sum().backward()
    assert all(w.grad is not None and w.grad.any() for w in positions.weights)


@pytest.mark.parametrize("kind", ["axial", "learned", "sinusoidal"])
def test_positions_may_be_given_row_by_row(kind: str) -> None:
    positions = make(kind, max_len=16, d_model=4)
    ids = torch.tensor([[0, 0, 0, 1], [12, 3, 15, 7]])
    assert torch.equal(positions(4, ids), positions(16)[ids])


def test_padding_moves_no_position() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    ids = count_tokens(mask)
    assert ids is not None
    assert ids[0, 2:].tolist() == ids[1, :3].tolist() == [0, 1, 2]
    assert ids.min() == 0
    assert count_tokens(None) is None


@pytest.mark.parametrize("d_model", [6, 7])
def test_sinusoidal_encoding_is_the_formula_of_the_transformer(d_model: int) -> None:
    encoding = SinusoidalPositions(d_model=d_model, std=0.5**0.5)(50)
    for p in (0, 1, 49):
        for m in range(d_model):
            wave = math.cos if m % 2 else math.sin
            expected = wave(p / 10_000 ** (2 * (m // 2) / (d_model + d_model % 2)))
            assert encoding[p, m] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", ["axial", "learned", "sinusoidal"])
@pytest.mark.parametrize("std", [1.0, 0.02])
def test_encodings_have_the_spread_that_is_asked_for(kind: str, std: float) -> None:
    torch.manual_seed(0)
    encoding = make(kind, max_len=4096, d_model=64, std=std)(4096)
    assert encoding.detach().square().mean().sqrt() == pytest.approx(std, rel=0.1)


def test_rotary_positions_add_nothing_to_the_embeddings() -> None:
    assert make_positions("rotary", max_len=16, d_model=4) is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"axial_shape": (3, 3)}, r"axial shape \(3, 3\) holds 9 positions, max_len is 16"),
        ({"axial_dims": (1, 2)}, r"axial dims \(1, 2\) add up to 3, d_model is 4"),
        ({"axial_shape": (4, 4), "axial_dims": (4,)}, "as many of each"),
        ({"axial_shape": (4, -4)}, "all positive"),
    ],
)
def test_axes_that_do_not_fit_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_positions("axial", max_len=16, d_model=4, **values)


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'axial'"):
        make_positions("axal", max_len=16, d_model=4)
