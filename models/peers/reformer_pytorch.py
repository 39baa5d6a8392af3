"""`ReformerLM` of the package reformer-pytorch (P. Wang, 2020-2023)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.layers.other_network import OtherNetwork, other_cost, prepared
from models.model import Model, ModelCost, Size
from models.variants.lsh_reformer_pytorch import (
    PACKAGES,
    LSHReformerPytorchOptions,
)
from models.variants.lsh_reformer_pytorch import (
    cost as attention_cost,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReformerPytorchOptions:
    """Its arguments that matter here, by our names."""

    hashes: int = 4
    chunk: int = 64  # tokens, its `bucket_size`
    ff_chunks: int = 1  # pieces in which the feed-forward network takes the sequence


def build(
    size: Size, options: ReformerPytorchOptions, _variant: Any, _options: Any, _impl: str
) -> nn.Module:
    """Make the network; its silent ways out, full attention and plain residuals, are shut.

    Raises:
        ValueError: a size that it does not take.
    """
    if size.max_len % (2 * options.chunk):
        raise ValueError(f"seq_len {size.max_len}: a multiple of 2 chunk, {2 * options.chunk}")
    if size.d_ff % size.d_model:
        raise ValueError(f"d_ff {size.d_ff}: it takes multiples of d_model {size.d_model} only")
    first = 2 ** (math.frexp(math.sqrt(size.max_len))[1] - 1)
    package = prepared("reformer_pytorch", *PACKAGES)
    network = package.ReformerLM(
        num_tokens=size.vocab,
        dim=size.d_model,
        depth=size.layers,
        max_seq_len=size.max_len,
        heads=size.heads,
        dim_head=size.head_dim,
        bucket_size=options.chunk,
        n_hashes=options.hashes,
        causal=size.causal,
        ff_mult=size.d_ff // size.d_model,
        ff_chunks=options.ff_chunks,
        full_attn_thres=0,
        reverse_thres=0,
        axial_position_emb=size.max_len % first == 0,
        axial_position_shape=(first, size.max_len // first),
    )
    return OtherNetwork(network, width=None, vocab=size.vocab, hidden=lambda n, tokens: n(tokens))


def cost(
    size: Size,
    options: ReformerPytorchOptions,
    _variant: Any,
    _options: Any,
    _impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass, and of one with its backward, which runs it again."""
    record = LSHReformerPytorchOptions(hashes=options.hashes, chunk=options.chunk)
    return other_cost(
        size,
        lambda shape: attention_cost(record, shape, "package"),
        batch=batch,
        seq_len=seq_len,
        itemsize=itemsize,
        projections=3,
        width=size.d_model,
        reversible=True,
    )


MODEL = Model(attention="own", options=ReformerPytorchOptions, build=build, cost=cost)
