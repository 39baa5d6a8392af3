"""Position encodings that are added to the token embeddings: learned, axial, sinusoidal."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.catalog import UnknownNameError, unknown

STD = 0.02  # of new weights, as of the token embeddings
BASE = 10_000.0  # of the wavelengths, Vaswani et al. 2017
KINDS = ("axial", "learned", "rotary", "sinusoidal")


class Positions(nn.Module, abc.ABC):
    """Vectors of positions; `longest` positions from 0 on are known, None: all."""

    longest: int | None = None

    @abc.abstractmethod
    def encode(self, ids: Int[Tensor, "*b t"]) -> Float[Tensor, "*b t m"]:
        """Return the vectors of the positions `ids`."""

    def forward(
        self,
        length: int,
        ids: Int[Tensor, "b t"] | None = None,
        *,
        device: torch.device | None = None,
    ) -> Float[Tensor, "*b t m"]:
        """Return the vectors of the first `length` positions, or of `ids`, row by row.

        Raises:
            ValueError: a position is not known. For `ids` it is looked up on a CPU only; a GPU
                stops with an assertion.
        """
        if ids is None:
            last, ids = length, torch.arange(length, device=device)
        else:
            last = int(ids.max()) + 1 if ids.device.type == "cpu" and ids.numel() else 0
        if self.longest is not None and last > self.longest:
            raise ValueError(f"{last} tokens; the position encoding holds {self.longest}")
        return self.encode(ids)


class LearnedPositions(Positions):
    """One vector a position."""

    def __init__(self, *, max_len: int, d_model: int, std: float = STD) -> None:
        super().__init__()
        self.longest = max_len
        self.weight = nn.Parameter(torch.randn(max_len, d_model) * std)

    def encode(self, ids: Int[Tensor, "*b t"]) -> Float[Tensor, "*b t m"]:
        """Look the vectors up."""
        return functional.embedding(ids, self.weight)


class AxialPositions(Positions):
    """A table whose cells are the positions; a cell is described by its coordinates.

    `e_p = concat_i w_i[coordinate_i(p)]`, row by row, the last axis fastest (Kitaev et al. 2020,
    "axial position embeddings"). It takes `sum_i n_i d_i` parameters and not `d prod_i n_i`, and
    any length up to the product, in training too.

    Raises:
        ValueError: shape and dims do not belong together, or the table is smaller than `max_len`.
    """

    def __init__(
        self, *, shape: Sequence[int], dims: Sequence[int], max_len: int, std: float = STD
    ) -> None:
        super().__init__()
        if len(shape) != len(dims) or min(*shape, *dims) < 1:
            raise ValueError(f"axial shape {shape} and dims {dims}: as many of each, all positive")
        self.shape = tuple(shape)
        self.longest = math.prod(shape)
        if self.longest < max_len:
            raise ValueError(
                f"axial shape {self.shape} holds {self.longest} positions, max_len is {max_len}"
            )
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n, dim) * std) for n, dim in zip(shape, dims, strict=True)
        )

    def encode(self, ids: Int[Tensor, "*b t"]) -> Float[Tensor, "*b t m"]:
        """Join the vectors of the coordinates."""
        parts: list[Tensor] = []
        stride = math.prod(self.shape)
        for weight in self.weights:
            around, stride = stride, stride // weight.shape[0]
            parts.append(functional.embedding(ids % around // stride, weight))
        return torch.cat(parts, dim=-1)


class SinusoidalPositions(Positions):
    """`e_p[2i], e_p[2i+1] = sin, cos (p / 10000^(2i/d))`, scaled to a mean square of `std^2`.

    Vaswani et al. 2017, section 3.5, where `std` is `1 / sqrt(2)`. It has no parameters and takes
    any length.
    """

    def __init__(self, *, d_model: int, std: float = STD) -> None:
        super().__init__()
        self.d_model = d_model
        self.scale = std * math.sqrt(2)

    def encode(self, ids: Int[Tensor, "*b t"]) -> Float[Tensor, "*b t m"]:
        """Compute the waves."""
        turned = angles(ids, self.d_model + self.d_model % 2)
        waves = torch.stack([turned.sin(), turned.cos()], dim=-1).flatten(-2)
        return self.scale * waves[..., : self.d_model].float()


def angles(ids: Int[Tensor, "*b t"], width: int) -> Float[Tensor, "*b t n"]:
    """Return `p / 10000^(2i / width)` for the positions p and i below `width / 2`, in float64.

    In float32 the fastest angle of position 10^6 would be off by 0.06.
    """
    steps = torch.arange(0, width, 2, device=ids.device, dtype=torch.float64)
    return ids.unsqueeze(-1) * BASE ** (-steps / width)


def count_tokens(mask: Bool[Tensor, "b t"] | None) -> Int[Tensor, "b t"] | None:
    """Return the number of tokens before each; padding on the left or right moves no position."""
    return None if mask is None else (mask.cumsum(1) - 1).clamp(min=0)


def make_positions(
    kind: str,
    *,
    max_len: int,
    d_model: int,
    std: float = STD,
    axial_shape: Sequence[int] | None = None,
    axial_dims: Sequence[int] | None = None,
) -> Positions | None:
    """Return the encoding of this kind; axial defaults to two axes near the root of `max_len`.

    None for `rotary`, which adds nothing to the embeddings and turns queries and keys instead.

    Raises:
        UnknownNameError: the kind is not known.
        ValueError: the axes do not fit.
    """
    if kind not in KINDS:
        raise UnknownNameError(unknown("positions", kind, list(KINDS)))
    if kind == "learned":
        return LearnedPositions(max_len=max_len, d_model=d_model, std=std)
    if kind == "sinusoidal":
        return SinusoidalPositions(d_model=d_model, std=std)
    if kind == "rotary":
        return None
    shape = _axes(max_len) if axial_shape is None else tuple(axial_shape)
    if axial_dims is None:
        share = d_model // len(shape)
        axial_dims = (*[share] * (len(shape) - 1), d_model - share * (len(shape) - 1))
    if sum(axial_dims) != d_model:
        raise ValueError(
            f"axial dims {tuple(axial_dims)} add up to {sum(axial_dims)}, d_model is {d_model}"
        )
    return AxialPositions(shape=shape, dims=axial_dims, max_len=max_len, std=std)


def _axes(max_len: int) -> tuple[int, int]:
    rows = 2 ** math.ceil(math.log2(max_len) / 2)
    return rows, -(-max_len // rows)
