"""`BigBirdModel` of Hugging Face transformers with an output projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from models.layers.other_network import OtherNetwork, other_cost, prepared
from models.model import Model, ModelCost, Size
from models.variant import Cost, Shape, Unsupported


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceBigBirdOptions:
    """The fields of its configuration that matter here."""

    block: int = 64  # tokens
    random_blocks: int = 1

    @property
    def dense_up_to(self) -> int:
        """The longest sequence for which it takes full attention instead, with a warning."""
        return (5 + 2 * self.random_blocks) * self.block


def build(
    size: Size, options: HuggingFaceBigBirdOptions, _variant: Any, _options: Any, _impl: str
) -> nn.Module:
    """Make the network: block-sparse attention in every layer.

    Raises:
        Unsupported: causal attention is asked for, or it would take full attention instead.
    """
    if size.causal:
        raise Unsupported("huggingface_bigbird: block-sparse attention has no causal form in it")
    if size.max_len <= options.dense_up_to:
        raise Unsupported(
            f"huggingface_bigbird: takes full attention up to {options.dense_up_to} tokens"
        )
    package = prepared("transformers", "transformers==5.23.0")
    config = package.BigBirdConfig(
        attention_type="block_sparse",
        block_size=options.block,
        num_random_blocks=options.random_blocks,
        hidden_size=size.d_model,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        intermediate_size=size.d_ff,
        vocab_size=size.vocab,
        max_position_embeddings=size.max_len + options.block,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        use_cache=False,
    )
    return OtherNetwork(
        package.BigBirdModel(config, add_pooling_layer=False),
        width=size.d_model,
        vocab=size.vocab,
        hidden=lambda network, tokens: network(input_ids=tokens).last_hidden_state,
    )


def cost(
    size: Size,
    options: HuggingFaceBigBirdOptions,
    _variant: Any,
    _options: Any,
    _impl: str,
    batch: int,
    seq_len: int,
    itemsize: int,
) -> ModelCost:
    """Return the cost of one forward pass, and of one with its backward.

    The first and the last block see all, those beside them 4 and all others 5 blocks, beside the
    random ones.
    """

    def attention(shape: Shape) -> Cost:
        blocks, sequences = -(-shape.seq_len // options.block), shape.batch * shape.heads
        seen = 2 * blocks + 2 * (4 + options.random_blocks)
        seen += (blocks - 4) * (5 + options.random_blocks)
        elements = sequences * shape.seq_len * shape.head_dim
        return Cost(
            model_flops=4 * shape.head_dim * sequences * shape.pairs,
            executed_flops=4 * shape.head_dim * sequences * seen * options.block**2,
            compulsory_bytes=4 * elements * shape.itemsize,
            state_bytes=2 * elements * shape.itemsize,
        )

    return other_cost(
        size, attention, batch=batch, seq_len=seq_len, itemsize=itemsize, width=size.d_model
    )


MODEL = Model(attention="own", options=HuggingFaceBigBirdOptions, build=build, cost=cost)
