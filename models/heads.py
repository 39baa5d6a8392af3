"""What a network is used for: language modelling, classification of texts and tokens, answers."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from models.layers.cache import (
    Cache,
    Prefill,
    Run,
    Step,
    last_token,
    through_residual,
    through_streams,
)
from models.layers.loss import IGNORED
from models.layers.network import initialise
from models.layers.positions import count_tokens
from models.layers.span import Span
from models.reformer import Reformer
from models.transformer import Transformer
from models.variant import Unsupported

Body = Reformer | Transformer


class CausalLM(nn.Module):
    """Predicts the next token, a causal network with its output projection; see `generation`.

    Raises:
        ValueError: the network is bidirectional, or has no output projection.
    """

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = _with_vocabulary(body, causal=True)

    def forward(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t v"]:
        """Return the logits of what follows each token."""
        return self.body(tokens, mask=mask)

    def loss(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of every token that follows another one.

        Other targets, for example without those of a prompt, go to `body.loss`.
        """
        known = tokens if mask is None else tokens.masked_fill(~mask, IGNORED)
        targets = functional.pad(known[:, 1:], (0, 1), value=IGNORED)
        return self.body.loss(tokens, targets, mask=mask)

    def begin(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read a prompt; return the logits of what follows and the cache.

        Raises:
            ValueError: the prompt is longer than the positions.
            Unsupported: the mechanism takes no padding, and there is some; or the network has a
                short convolution, whose last tokens no cache keeps.
        """
        if self.body.config.conv is not None:
            raise Unsupported(f"conv {self.body.config.conv}: no decoding token by token with it")
        run = Prefill(mask)
        hidden = self._through(self.body.embedding(tokens, count_tokens(mask)), run)
        logits = self.body.head(self.body.norm(last_token(hidden, mask)))
        return logits, run.cache(tokens, self.body.embedding.positions)

    def step(self, tokens: Int[Tensor, " b"], cache: Cache) -> tuple[Float[Tensor, "b v"], Cache]:
        """Read one more token of each row; return the logits of what follows and the next cache.

        Raises:
            ValueError: there is no position left.
        """
        run = Step(cache)
        x = self.body.embedding(tokens.unsqueeze(1), cache.length.unsqueeze(1))
        hidden = self._through(x, run).squeeze(1)
        return self.body.head(self.body.norm(hidden)), run.cache()

    def reorder(self, cache: Cache, rows: Int[Tensor, " r"]) -> Cache:
        """Return the cache whose row i is the old row `rows[i]`; rows may repeat."""
        return cache.reorder(self._sublayers(), rows)

    def _through(self, x: Tensor, run: Run) -> Tensor:
        if isinstance(self.body, Reformer):
            return self.body.combined(*through_streams(self._sublayers(), x, run))
        return through_residual(self._sublayers(), x, run)

    def _sublayers(self) -> list[nn.Module]:
        if isinstance(self.body, Reformer):
            return list(self.body.stack.sublayers)
        return [part for block in self.body.blocks for part in block.children()]


class MaskedLM(nn.Module):
    """Fills gaps: a bidirectional network with its output projection.

    Raises:
        ValueError: the network is causal, or has no output projection.
    """

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = _with_vocabulary(body, causal=False)

    def forward(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t v"]:
        """Return the logits of what stands at each place."""
        return self.body(tokens, mask=mask)

    def loss(
        self,
        tokens: Int[Tensor, "b t"],
        targets: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the targets that are neither padding nor `IGNORED`.

        `targets` holds the tokens to be guessed in their places and `IGNORED` in the others.
        """
        return self.body.loss(tokens, targets, mask=mask)


class SequenceClassifier(nn.Module):
    """Tells what a text is: `W_2 drop(tanh(W_1 drop(h) + b_1)) + b_2` of the state h of one token.

    `at="first"` is the first token that is no padding (Devlin et al. 2019), which in a causal
    network knows nothing but itself; `"last"` is the last one. None takes the one that knows the
    whole text: the last of a causal network, the first of any other.

    Raises:
        ValueError: there is no class, or `at` is something else.
    """

    def __init__(
        self, body: Body, *, classes: int, dropout: float = 0.0, at: str | None = None
    ) -> None:
        super().__init__()
        if at not in {None, "first", "last"}:
            raise ValueError(f"at: {at!r}; allowed: 'first', 'last', None")
        self.body = body
        self.at = at or ("last" if body.config.causal else "first")
        self.dropout = nn.Dropout(dropout)
        self.dense = _linear(body, body.config.d_model)
        self.out = _linear(body, classes, width=body.config.d_model)

    def forward(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b c"]:
        """Return the logits of the classes."""
        hidden = self.body.hidden(tokens, mask=mask)
        if self.at == "first":
            hidden, mask = hidden.flip(1), None if mask is None else mask.flip(1)
        pooled = self.dropout(last_token(hidden, mask))
        return self.out(self.dropout(torch.tanh(self.dense(pooled))))

    def loss(
        self,
        tokens: Int[Tensor, "b t"],
        targets: Int[Tensor, " b"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the rows whose target is not `IGNORED`."""
        return _cross_entropy(self(tokens, mask), targets)


class TokenClassifier(nn.Module):
    """Tells what each token is, as in named-entity recognition: `W drop(h) + b`.

    Raises:
        ValueError: there is no class.
    """

    def __init__(self, body: Body, *, classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.out = _linear(body, classes)

    def forward(
        self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t c"]:
        """Return the logits of the classes of each token."""
        return self.out(self.dropout(self.body.hidden(tokens, mask=mask)))

    def loss(
        self,
        tokens: Int[Tensor, "b t"],
        targets: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of the targets that are neither padding nor `IGNORED`."""
        if mask is not None:
            targets = targets.masked_fill(~mask, IGNORED)
        return _cross_entropy(self(tokens, mask).flatten(0, 1), targets.flatten())


class QuestionAnswering(nn.Module):
    """Finds an answer inside a text: two logits `W h + b` for each token."""

    def __init__(self, body: Body) -> None:
        super().__init__()
        self.body = body
        self.out = _linear(body, 2)

    def forward(self, tokens: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None) -> Span:
        """Return the logits of the answer's first and last token."""
        logits = self.out(self.body.hidden(tokens, mask=mask))
        if mask is not None:
            logits = logits.masked_fill(~mask.unsqueeze(-1), -torch.inf)
        return Span(*logits.unbind(dim=-1))

    def loss(
        self,
        tokens: Int[Tensor, "b t"],
        start: Int[Tensor, " b"],
        end: Int[Tensor, " b"],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, ""]:
        """Return the mean cross-entropy of both places; `IGNORED` stands for no answer."""
        span = self(tokens, mask)
        return (_cross_entropy(span.start, start) + _cross_entropy(span.end, end)) / 2


def _with_vocabulary(body: Body, *, causal: bool) -> Body:
    if body.config.causal != causal:
        other = "MaskedLM" if causal else "CausalLM"
        raise ValueError(f"causal: {body.config.causal}; this head needs {causal}; see {other}")
    if not body.config.vocab_head:
        raise ValueError("vocab_head: False; a language model needs the output projection")
    return body


def _linear(body: Body, classes: int, *, width: int | None = None) -> nn.Linear:
    if classes < 1:
        raise ValueError(f"classes: {classes}; at least 1")
    layer = nn.Linear(width or body.config.width, classes)
    initialise(layer, body.config.init_std)
    return layer


def _cross_entropy(logits: Float[Tensor, "n c"], targets: Int[Tensor, " n"]) -> Tensor:
    """Return the mean over what counts, zero where nothing does; in float32 at least."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    total = functional.cross_entropy(wide, targets, reduction="sum", ignore_index=IGNORED)
    return total / (targets != IGNORED).sum().clamp(min=1)
