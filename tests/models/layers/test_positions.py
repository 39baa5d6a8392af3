"""Position encodings against tables written out, and what is refused."""

import itertools
from typing import Any

import pytest
import torch

from models.catalog import UnknownNameError
from models.layers.positions import AxialPositions, make_positions


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
    positions = make_positions("axial", max_len=8192, d_model=64)
    assert sum(p.numel() for p in positions.parameters()) == (128 + 64) * 32


@pytest.mark.parametrize("max_len", [1, 2, 3, 100, 1000, 1024])
def test_default_axes_hold_the_longest_sequence(max_len: int) -> None:
    encoding = make_positions("axial", max_len=max_len, d_model=7)(max_len)
    assert encoding.shape == (max_len, 7)
    assert len(encoding.unique(dim=0)) == max_len


def test_learned_encoding_is_its_table() -> None:
    positions = make_positions("learned", max_len=10, d_model=4)
    (table,) = positions.parameters()
    assert torch.equal(positions(7), table[:7])


@pytest.mark.parametrize("kind", ["learned", "axial"])
def test_a_sequence_that_is_too_long_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="17 tokens; the position encoding holds 16"):
        make_positions(kind, max_len=16, d_model=4)(17)


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
