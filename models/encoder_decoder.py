"""Encoder and decoder for translation, both reversible (Kitaev et al. 2020, section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from models.layers.attention_layer import AttentionLayer, find_mechanism
from models.layers.cache import Cache, Prefill, Run, Step, through_streams
from models.layers.loss import IGNORED, sectioned_cross_entropy
from models.layers.network import check_mask, initialise
from models.layers.positions import count_tokens
from models.layers.reversible import ReversibleStack
from models.layers.sublayer import Sublayer
from models.reformer import Reformer, ReformerConfig
from models.variant import Variant


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderDecoderConfig:
    """Two Reformers, one that reads the source and one that writes the target.

    Raises:
        ValueError: the two do not fit together.
    """

    encoder: ReformerConfig  # bidirectional; its output projection is not built
    decoder: ReformerConfig  # causal
    start: int  # the token before the first of a target
    share_embedding: bool = True  # one table of token vectors for source and target
    cross_impl: str | None = None  # of the full attention to the source; None: its default

    def __post_init__(self) -> None:
        encoder, decoder = self.encoder, self.decoder
        if encoder.causal or not decoder.causal:
            raise ValueError(
                f"causal: encoder {encoder.causal}, decoder {decoder.causal}; "
                "an encoder is not causal, a decoder is"
            )
        if encoder.width != decoder.d_model:
            raise ValueError(
                f"the encoder's output is {encoder.width} wide, d_model of the decoder "
                f"{decoder.d_model}; they must be equal"
            )
        if not decoder.vocab_head:
            raise ValueError("vocab_head: False; the decoder needs the output projection")
        if not 0 <= self.start < decoder.vocab:
            raise ValueError(f"start: {self.start}; a token below the vocabulary {decoder.vocab}")
        if self.share_embedding and (encoder.vocab, encoder.d_model) != (
            decoder.vocab,
            decoder.d_model,
        ):
            raise ValueError(
                f"share_embedding: tables of {encoder.vocab} x {encoder.d_model} and "
                f"{decoder.vocab} x {decoder.d_model}; they must be equal"
            )


class EncoderDecoder(nn.Module):
    """Writes a target while it looks at a source.

    The encoder is a Reformer; its output, the mean of both streams and a norm, is the context. A
    decoder layer is three reversible sublayers: causal attention within the target, exact
    attention to the context with separate queries and keys, feed-forward network. The gradient of
    the context is the sum over the layers.

    A target stands without the start token and ends with whatever ends a sentence. The network
    moves it by one place itself: the logits at place i come from the start token and the target
    before i. Masks are True at tokens and False at padding, None without padding.

    Raises:
        UnknownNameError: a name in the configuration is unknown; the message has the nearest.
        ValueError: sizes do not fit together.
        Unsupported: a mechanism cannot be built so.
    """

    def __init__(
        self, config: EncoderDecoderConfig, variants: Mapping[str, Variant] | None = None
    ) -> None:
        super().__init__()
        self.config = config
        encoder = replace(config.encoder, vocab_head=False, tie_weights=False)
        self.encoder = Reformer(encoder, variants)
        decoder = Reformer(config.decoder, variants)
        self.embedding, self.norm, self.head = decoder.embedding, decoder.norm, decoder.head
        if config.share_embedding:
            self.encoder.embedding.tokens = self.embedding.tokens
        parts = list(decoder.stack.sublayers)
        sublayers: list[nn.Module] = []
        for attention, feed_forward in zip(parts[::2], parts[1::2], strict=True):
            sublayers += [attention, _cross_sublayer(config), feed_forward]
        self.stack = ReversibleStack(sublayers, keep_activations=not config.decoder.reversible)

    def encode(
        self, source: Int[Tensor, "b s"], source_mask: Bool[Tensor, "b s"] | None = None
    ) -> Float[Tensor, "b s m"]:
        """Return the context."""
        return self.encoder.hidden(source, mask=source_mask)

    def hidden(
        self,
        source: Int[Tensor, "b s"],
        target: Int[Tensor, "b t"],
        source_mask: Bool[Tensor, "b s"] | None = None,
        target_mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t w"]:
        """Return the normalised states from which the target is told, place by place."""
        check_mask(target, target_mask)
        tokens = torch.cat([self._starts(target), target[:, :-1]], dim=1)
        mask = target_mask
        if mask is not None:
            mask = torch.cat([mask.new_ones(len(mask), 1), mask[:, :-1]], dim=1)
        streams = self.stack(
            self.embedding(tokens, count_tokens(mask)),
            mask=mask,
            context=self.encode(source, source_mask),
            context_mask=source_mask,
        )
        return self._joined(*streams)

    def forward(
        self,
        source: Int[Tensor, "b s"],
        target: Int[Tensor, "b t"],
        source_mask: Bool[Tensor, "b s"] | None = None,
        target_mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t v"]:
        """Return the logits of the target."""
        return self.head(self.hidden(source, target, source_mask, target_mask))

    def loss(
        self,
        source: Int[Tensor, "b s"],
        target: Int[Tensor, "b t"],
        source_mask: Bool[Tensor, "b s"] | None = None,
        target_mask: Bool[Tensor, "b t"] | None = None,
        *,
        label_smoothing: float = 0.0,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the target, its padding left out."""
        counted = target if target_mask is None else target.masked_fill(~target_mask, IGNORED)
        return sectioned_cross_entropy(
            self.hidden(source, target, source_mask, target_mask),
            self.head,
            counted,
            section=self.config.decoder.loss_section,
            label_smoothing=label_smoothing,
        )

    def begin(
        self, tokens: Int[Tensor, "b s"], mask: Bool[Tensor, "b s"] | None = None
    ) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read a source and the start token; return the logits of the target's first token.

        Keys and values of the context are computed here, once for all steps.
        """
        start = self._starts(tokens)
        run = Prefill(context=self.encode(tokens, mask), context_mask=mask)
        logits = self._logits(self.embedding(start), run)
        return logits, run.cache(start, self.embedding.positions)

    def step(self, tokens: Int[Tensor, " b"], cache: Cache) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read one more token of each target; return the logits of the next.

        Raises:
            ValueError: there is no position left.
        """
        run = Step(cache)
        x = self.embedding(tokens.unsqueeze(1), cache.length.unsqueeze(1))
        return self._logits(x, run), run.cache()

    def reorder(self, cache: Cache, rows: Int[Tensor, " r"]) -> Cache:
        """Return the cache whose row i is the old row `rows[i]`; rows may repeat."""
        return cache.reorder(self.stack.sublayers, rows)

    def _logits(self, x: Float[Tensor, "b 1 m"], run: Run) -> Float[Tensor, "b v"]:
        streams = through_streams(self.stack.sublayers, x, run)
        return self.head(self._joined(*streams)).squeeze(1)

    def _joined(self, a: Tensor, b: Tensor) -> Tensor:
        both = self.config.decoder.combine == "concatenate"
        return self.norm(torch.cat([a, b], dim=-1) if both else (a + b) / 2)

    def _starts(self, tokens: Int[Tensor, "b _"]) -> Int[Tensor, "b 1"]:
        return tokens.new_full((len(tokens), 1), self.config.start)


def _cross_sublayer(config: EncoderDecoderConfig) -> Sublayer:
    """Return norm, exact attention to the context, dropout."""
    sizes = config.decoder
    mechanism = find_mechanism("full", impl=config.cross_impl)
    layer = AttentionLayer(
        mechanism.build(causal=False, head_dim=sizes.head_size),
        d_model=sizes.d_model,
        heads=sizes.heads,
        head_dim=sizes.head_size,
    )
    initialise(layer, sizes.init_std)
    return Sublayer(
        layer,
        d_model=sizes.d_model,
        dropout=sizes.dropout,
        norm_eps=sizes.norm_eps,
        takes=("context", "context_mask"),
    )
