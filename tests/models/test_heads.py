"""Heads: the right states, padding left out, losses by their definition, and refusals."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.heads import (
    Body,
    CausalLM,
    MaskedLM,
    QuestionAnswering,
    SequenceClassifier,
    TokenClassifier,
)
from models.layers.loss import IGNORED
from models.layers.span import Span
from models.reformer import Reformer, ReformerConfig
from models.transformer import ModelConfig, Transformer

TOKENS = torch.randint(0, 11, (3, 14), generator=torch.Generator().manual_seed(0))
MASK = torch.ones(3, 14, dtype=torch.bool)
MASK[1, 9:], MASK[2, :6] = False, False  # padding on the right, on the left
MIX = {
    "attention": ["local", "lsh", "full"],
    "attention_options": {"local": {"chunk": 4}, "lsh": {"chunk": 32}},  # one chunk: exact
}


def body(kind: type[Body] = Reformer, **values: Any) -> Body:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "vocab": 11,
        "d_model": 16,
        "heads": 2,
        "d_ff": 24,
        "layers": 3,
        "max_len": 40,
        "causal": False,
        "init_std": 0.2,
        **values,
    }
    if kind is Transformer:
        return Transformer(ModelConfig(**sizes)).double()
    return Reformer(ReformerConfig(**{**MIX, **sizes})).double()


def heads(kind: type[Body] = Reformer) -> list[torch.nn.Module]:
    wide: dict[str, Any] = {"combine": "concatenate"} if kind is Reformer else {}
    return [
        CausalLM(body(kind, causal=True)),
        MaskedLM(body(kind, head_bias=True)),
        SequenceClassifier(body(kind, vocab_head=False, **wide), classes=4).double(),
        TokenClassifier(body(kind, vocab_head=False, **wide), classes=4).double(),
        QuestionAnswering(body(kind, vocab_head=False, **wide)).double(),
    ]


def outputs(head: torch.nn.Module, tokens: Tensor, mask: Tensor | None) -> list[Tensor]:
    found = head(tokens, mask)
    return list(found) if isinstance(found, Span) else [found]


def loss_of(head: torch.nn.Module, tokens: Tensor, mask: Tensor | None) -> Tensor:
    if isinstance(head, CausalLM):
        return head.loss(tokens, mask)
    if isinstance(head, MaskedLM):
        return head.loss(tokens, (tokens + 1) % 11, mask)
    if isinstance(head, SequenceClassifier):
        return head.loss(tokens, tokens[:, 0] % 4, mask)
    if isinstance(head, TokenClassifier):
        return head.loss(tokens, tokens % 4, mask)
    assert isinstance(head, QuestionAnswering)
    return head.loss(tokens, torch.tensor([1, 2, 7]), torch.tensor([3, 8, 7]), mask)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Reformer, Transformer])
@pytest.mark.parametrize("number", range(5))
def test_a_padded_text_is_read_as_it_is_alone(number: int, kind: type[Body]) -> None:
    head = heads(kind)[number]
    together = outputs(head, TOKENS, MASK)
    for row in range(3):
        alone = outputs(head, TOKENS[row, MASK[row]].unsqueeze(0), None)
        for found, expected in zip(together, alone, strict=True):
            kept = found[row, MASK[row]] if found.shape[1] == 14 else found[row]
            assert kept.shape == expected[0].shape
            assert (kept - expected[0]).abs().max() < 1e-12


@pytest.mark.parametrize("kind", [Reformer, Transformer])
@pytest.mark.parametrize("number", range(5))
def test_padding_changes_no_loss_and_every_weight_is_trained(number: int, kind: type[Body]) -> None:
    head = heads(kind)[number]
    loss = loss_of(head, TOKENS, MASK)
    other = torch.where(MASK, TOKENS, (TOKENS + 1) % 11)
    if not isinstance(head, SequenceClassifier):  # its targets here come from the first token
        torch.testing.assert_close(loss_of(head, other, MASK), loss, rtol=1e-12, atol=0)
    loss.backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.norm() > 0, name


@torch.no_grad()
@pytest.mark.parametrize(("causal", "at"), [(False, "first"), (True, "last")])
def test_a_text_is_classified_by_a_token_that_has_seen_all_of_it(causal: bool, at: str) -> None:
    """By default; with a causal network's first token Hugging Face's is stuck: issue 5023."""
    network = body(causal=causal, attention=["full"], attention_options={})
    head = SequenceClassifier(network, classes=2).double()
    assert head.at == at
    logits = head(TOKENS, MASK)
    for place in range(14):
        other = TOKENS.clone()
        other[:, place] = (other[:, place] + 1) % 11
        difference = (head(other, MASK) - logits).abs().amax(-1)
        assert ((difference > 1e-9) == MASK[:, place]).all()


@torch.no_grad()
def test_the_pooled_token_is_the_first_that_is_no_padding() -> None:
    network = body(vocab_head=False)
    head = SequenceClassifier(network, classes=3, at="first").double()
    hidden = network.hidden(TOKENS, mask=MASK)
    for row, place in enumerate([0, 0, 6]):
        expected = head.out(torch.tanh(head.dense(hidden[row, place])))
        assert (head(TOKENS, MASK)[row] - expected).abs().max() < 1e-12
    last = SequenceClassifier(network, classes=3, at="last").double()
    for row, place in enumerate([13, 8, 13]):
        expected = last.out(torch.tanh(last.dense(hidden[row, place])))
        assert (last(TOKENS, MASK)[row] - expected).abs().max() < 1e-12


def test_dropout_acts_in_training_on_states_and_on_the_dense_layer() -> None:
    head = SequenceClassifier(body(vocab_head=False), classes=3, dropout=0.5).double()
    sizes: list[int] = []
    head.dropout.register_forward_hook(lambda _, i, out: sizes.append(int((out == 0).sum())))
    torch.manual_seed(0)
    head.train()(TOKENS)
    assert len(sizes) == 2
    assert min(sizes) > 0
    assert torch.equal(head.eval()(TOKENS), head(TOKENS))


@torch.no_grad()
def test_entities_are_scored_on_tokens_only() -> None:
    head = heads()[3]
    assert isinstance(head, TokenClassifier)
    targets = TOKENS % 4
    targets[0, 2] = IGNORED
    logs = head(TOKENS, MASK).log_softmax(-1)
    kept = MASK & (targets != IGNORED)
    expected = -logs[kept].gather(1, targets[kept].unsqueeze(1)).mean()
    assert abs(float(head.loss(TOKENS, targets, MASK)) - float(expected)) < 1e-12


@torch.no_grad()
def test_an_answer_never_starts_or_ends_in_padding() -> None:
    head = heads()[4]
    assert isinstance(head, QuestionAnswering)
    span = head(TOKENS, MASK)
    for logits in span:
        assert (logits[~MASK] == -torch.inf).all()
        assert logits[MASK].isfinite().all()
        assert ((logits.softmax(-1) * MASK).sum(-1) - 1).abs().max() < 1e-12
    none = torch.full((3,), IGNORED)
    loss = head.loss(TOKENS, torch.tensor([IGNORED, 2, IGNORED]), none, MASK)
    assert abs(float(loss) + float(span.start[1].log_softmax(-1)[2]) / 2) < 1e-12
    assert float(head.loss(TOKENS, none, none, MASK)) == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CausalLM(body()), "causal: False; this head needs True; see MaskedLM"),
        (lambda: MaskedLM(body(causal=True)), "causal: True; this head needs False; see CausalLM"),
        (lambda: MaskedLM(body(vocab_head=False)), "needs the output projection"),
        (lambda: SequenceClassifier(body(), classes=0), "classes: 0"),
        (lambda: TokenClassifier(body(), classes=-1), "classes: -1"),
        (lambda: SequenceClassifier(body(), classes=2, at="frist"), "at: 'frist'"),
    ],
)
def test_a_head_that_cannot_work_is_refused_in_one_sentence(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
