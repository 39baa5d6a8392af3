"""`ReformerModel` of Hugging Face transformers with an output projection of its width."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import nn

from models.layers.other_network import OtherNetwork, other_cost, prepared
from models.model import Model, ModelCost, Size
from models.variants.lsh_huggingface import LSHHuggingFaceOptions
from models.variants.lsh_huggingface import cost as attention_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceReformerOptions:
    """The fields of its configuration that matter here, by our names."""

    hashes: int = 4
    chunk: int = 64  # tokens
    ff_section: int | None = None  # tokens that the feed-forward network takes at a time


def build(
    size: Size, options: HuggingFaceReformerOptions, _variant: Any, _options: Any, _impl: str
) -> nn.Module:
    """Make the network: LSH attention in every layer, axial positions, reversible residuals."""
    first = 2 ** (math.frexp(math.sqrt(size.max_len))[1] - 1)
    if size.max_len % first:
        raise ValueError(f"seq_len {size.max_len}: no two axes multiply to it; take a power of two")
    package = prepared("transformers", "transformers==5.23.0")
    config = package.ReformerConfig(
        attn_layers=["lsh"] * size.layers,
        hidden_size=size.d_model,
        num_attention_heads=size.heads,
        attention_head_size=size.head_dim,
        feed_forward_size=size.d_ff,
        vocab_size=size.vocab,
        max_position_embeddings=size.max_len,
        axial_pos_shape=[first, size.max_len // first],
        axial_pos_embds_dim=[size.d_model // 2, size.d_model - size.d_model // 2],
        num_hashes=options.hashes,
        lsh_attn_chunk_length=options.chunk,
        chunk_size_feed_forward=options.ff_section or 0,
        is_decoder=size.causal,
        use_cache=False,
        hash_seed=0,
        hidden_dropout_prob=0.0,
        lsh_attention_probs_dropout_prob=0.0,
        hidden_act="gelu",
    )
    return OtherNetwork(
        package.ReformerModel(config),
        width=2 * size.d_model,
        vocab=size.vocab,
        hidden=lambda network, tokens: network(input_ids=tokens).last_hidden_state,
    )


def cost(
    size: Size,
    options: HuggingFaceReformerOptions,
    _variant: Any,
    _options: Any,
    _impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass, and of one with its backward, which runs it again."""
    record = LSHHuggingFaceOptions(hashes=options.hashes, chunk=options.chunk)
    return other_cost(
        size,
        lambda shape: attention_cost(record, shape, "chunked"),
        batch=batch,
        seq_len=seq_len,
        itemsize=itemsize,
        projections=3,
        width=2 * size.d_model,
        reversible=True,
    )


MODEL = Model(attention="own", options=HuggingFaceReformerOptions, build=build, cost=cost)
