"""Position encodings that are added to the token embeddings: learned and axial."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown

STD = 0.02  # of new weights, as of the token embeddings


class LearnedPositions(nn.Module):
    """One vector a position."""

    def __init__(self, *, max_len: int, d_model: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(max_len, d_model) * STD)

    def forward(self, length: int) -> Float[Tensor, "t m"]:
        """Return the encodings of the first positions.

        Raises:
            ValueError: there are not so many.
        """
        _check_length(length, self.weight.shape[0])
        return self.weight[:length]


class AxialPositions(nn.Module):
    """A table whose cells are the positions; a cell is described by its coordinates.

    `e_p = concat_i w_i[coordinate_i(p)]`, row by row, the last axis fastest (Kitaev et al. 2020,
    "axial position embeddings"). It takes `sum_i n_i d_i` parameters and not `d prod_i n_i`.

    Raises:
        ValueError: shape and dims do not belong together, or the table is smaller than `max_len`.
    """

    def __init__(self, *, shape: Sequence[int], dims: Sequence[int], max_len: int) -> None:
        super().__init__()
        if len(shape) != len(dims) or min(*shape, *dims) < 1:
            raise ValueError(f"axial shape {shape} and dims {dims}: as many of each, all positive")
        if math.prod(shape) < max_len:
            raise ValueError(
                f"axial shape {tuple(shape)} holds {math.prod(shape)} positions, "
                f"max_len is {max_len}"
            )
        self.shape = tuple(shape)
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n, dim) * STD) for n, dim in zip(shape, dims, strict=True)
        )

    def forward(self, length: int) -> Float[Tensor, "t m"]:
        """Return the encodings of the first positions.

        Raises:
            ValueError: the table has not so many.
        """
        _check_length(length, math.prod(self.shape))
        position = torch.arange(length, device=self.weights[0].device)
        parts: list[Tensor] = []
        stride = math.prod(self.shape)
        for weight in self.weights:
            stride //= weight.shape[0]
            parts.append(weight[position // stride % weight.shape[0]])
        return torch.cat(parts, dim=-1)


def make_positions(
    kind: str,
    *,
    max_len: int,
    d_model: int,
    axial_shape: Sequence[int] | None = None,
    axial_dims: Sequence[int] | None = None,
) -> nn.Module:
    """Return the encoding of this kind; axial defaults to two axes near the root of `max_len`.

    Raises:
        UnknownNameError: the kind is not known.
        ValueError: the axes do not fit.
    """
    if kind == "learned":
        return LearnedPositions(max_len=max_len, d_model=d_model)
    if kind != "axial":
        raise UnknownNameError(unknown("positions", kind, ["axial", "learned"]))
    if axial_shape is None:
        rows = 2 ** math.ceil(math.log2(max_len) / 2)
        axial_shape = (rows, -(-max_len // rows))
    if axial_dims is None:
        share = d_model // len(axial_shape)
        axial_dims = (*[share] * (len(axial_shape) - 1), d_model - share * (len(axial_shape) - 1))
    if sum(axial_dims) != d_model:
        raise ValueError(
            f"axial dims {tuple(axial_dims)} add up to {sum(axial_dims)}, d_model is {d_model}"
        )
    return AxialPositions(shape=axial_shape, dims=axial_dims, max_len=max_len)


def _check_length(length: int, longest: int) -> None:
    if length > longest:
        raise ValueError(f"{length} tokens; the position encoding holds {longest}")
