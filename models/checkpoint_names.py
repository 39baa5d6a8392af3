"""The names of a Hugging Face Reformer's weights, and the parameters of ours that they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import cast

import torch
from torch import Tensor, nn

from models.catalog import unknown
from models.checkpoint_config import HuggingFaceConfig
from models.heads import CausalLM, MaskedLM, QuestionAnswering, SequenceClassifier
from models.layers.attention_layer import AttentionLayer
from models.layers.feed_forward import FeedForward
from models.layers.positions import AxialPositions, LearnedPositions
from models.layers.sublayer import Sectioned, Sublayer
from models.reformer import Reformer

BARE, CAUSAL, MASKED, TEXTS, QUESTIONS = (
    "ReformerModel",
    "ReformerModelWithLMHead",
    "ReformerForMaskedLM",
    "ReformerForSequenceClassification",
    "ReformerForQuestionAnswering",
)
HEADS = {"lm_head": CAUSAL, "classifier": TEXTS, "qa_outputs": QUESTIONS}  # by their names' start
PREFIX = "reformer."  # of the body's names in a model with a head
ARCHITECTURES = {BARE, CAUSAL, MASKED, TEXTS, QUESTIONS}
WORDS = "embeddings.word_embeddings.weight"
# Constants that old files hold beside the weights.
CONSTANT = re.compile(r"\.(self_)?mask_value(_float(16|32))?$")
BIAS, LINKED_BIAS = "lm_head.bias", "lm_head.decoder.bias"  # one tensor in versions up to 4.57

Model = Reformer | CausalLM | MaskedLM | SequenceClassifier | QuestionAnswering


class CheckpointError(ValueError):
    """Weights that do not fit the model; the message names all of them."""


@dataclass(frozen=True, slots=True)
class Weight:
    """A parameter of ours, and the shape that its values have in a checkpoint."""

    parameter: Tensor
    shape: tuple[int, ...]


def architecture_in(state: Mapping[str, Tensor], config: HuggingFaceConfig) -> str:
    """Return the class of `transformers` that weights are of; without a head, what they say.

    Raises:
        CheckpointError: there are several heads, or an unknown one.
    """
    heads = {found for name in state if (found := HEADS.get(name.split(".")[0]))}
    if len(heads) > 1:
        raise CheckpointError(f"weights of several heads: {', '.join(sorted(heads))}")
    found = heads.pop() if heads else next(iter(config.architectures), BARE)
    if found not in ARCHITECTURES:
        raise CheckpointError(unknown("architecture", found, sorted(ARCHITECTURES)))
    return MASKED if found == CAUSAL and not config.is_decoder else found


def recognised(model: nn.Module) -> Model:
    """Return the model if `transformers` has one like it.

    Raises:
        TypeError: there is no such head, or the network is not a Reformer.
    """
    if isinstance(model, Model) and isinstance(getattr(model, "body", model), Reformer):
        return model
    body = getattr(model, "body", None)
    around = "" if body is None else f" around {type(body).__name__}"
    raise TypeError(
        f"{type(model).__name__}{around} has no counterpart; there are {sorted(ARCHITECTURES)}"
    )


def architecture_of(model: Model) -> str:
    """Return the class of `transformers` that is like this model."""
    if isinstance(model, SequenceClassifier):
        return TEXTS
    if isinstance(model, QuestionAnswering):
        return QUESTIONS
    body = body_of(model)
    if not isinstance(body.head, nn.Linear):
        return BARE
    return CAUSAL if body.config.causal else MASKED


def body_of(model: Model) -> Reformer:
    """Return the network without its head."""
    return cast("Reformer", model if isinstance(model, Reformer) else model.body)


def weights(model: Model) -> dict[str, Weight]:
    """Return every weight by its name in a checkpoint."""
    head = _head(model)
    prefix = PREFIX if head else ""
    body = {prefix + name: weight for name, weight in _body(body_of(model)).items()}
    return body | {name: _as_it_is(parameter) for name, parameter in head.items()}


def _head(model: Model) -> dict[str, Tensor]:
    if isinstance(model, QuestionAnswering):
        return _linear("qa_outputs", model.out)
    if isinstance(model, SequenceClassifier):
        return _linear("classifier.dense", model.dense) | _linear("classifier.out_proj", model.out)
    output = body_of(model).head
    if not isinstance(output, nn.Linear):
        return {}
    bias = output.bias
    if bias is None:  # theirs always has one
        bias = output.weight.new_zeros(len(output.weight))
    return {BIAS: bias, "lm_head.decoder.weight": output.weight}


def _body(body: Reformer) -> dict[str, Weight]:
    plain = {"embeddings.word_embeddings.weight": body.embedding.tokens.weight}
    positions = body.embedding.positions
    if isinstance(positions, LearnedPositions):
        plain["embeddings.position_embeddings.embedding.weight"] = positions.weight
    sublayers = [s.inner if isinstance(s, Sectioned) else s for s in body.stack.sublayers]
    for index, sublayer in enumerate(sublayers):
        if isinstance(sublayer, Sublayer):
            plain |= _sublayer(f"encoder.layers.{index // 2}.", sublayer)
    plain |= _linear("encoder.layer_norm", body.norm)
    found = {name: _as_it_is(parameter) for name, parameter in plain.items()}
    if isinstance(positions, AxialPositions):
        for axis, weight in enumerate(positions.weights):
            shape = [1] * len(positions.shape)
            shape[axis] = positions.shape[axis]
            name = f"embeddings.position_embeddings.weights.{axis}"
            found[name] = Weight(weight, (*shape, weight.shape[1]))
    return found


def _sublayer(layer: str, sublayer: Sublayer) -> dict[str, Tensor]:
    inner = sublayer.inner
    if isinstance(inner, FeedForward):
        return {
            **_linear(f"{layer}feed_forward.layer_norm", sublayer.norm),
            **_linear(f"{layer}feed_forward.dense.dense", inner.widen),
            **_linear(f"{layer}feed_forward.output.dense", inner.narrow),
        }
    if not isinstance(inner, AttentionLayer):
        raise TypeError(f"{type(inner).__name__} has no counterpart")
    attention = f"{layer}attention."
    first = (
        {"query_key": inner.query}
        if inner.key is None
        else {"query": inner.query, "key": inner.key}
    )
    found = _linear(f"{attention}layer_norm", sublayer.norm)
    for name, linear in {**first, "value": inner.value}.items():
        found[f"{attention}self_attention.{name}.weight"] = linear.weight
    found[f"{attention}output.dense.weight"] = inner.out.weight
    return found


def _linear(name: str, module: nn.Linear | nn.LayerNorm) -> dict[str, Tensor]:
    return {f"{name}.weight": module.weight, f"{name}.bias": module.bias}


def _as_it_is(parameter: Tensor) -> Weight:
    return Weight(parameter, tuple(parameter.shape))


def canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out what is no weight, and give the output bias its one name.

    Raises:
        CheckpointError: there are two output biases and they differ.
    """
    found = {name: value for name, value in state.items() if not CONSTANT.search(name)}
    linked = found.pop(LINKED_BIAS, None)
    if linked is not None and not torch.equal(found.setdefault(BIAS, linked), linked):
        raise CheckpointError(f"{BIAS} and {LINKED_BIAS} differ; which is meant cannot be told")
    return found


def fill(model: Model, state: Mapping[str, Tensor]) -> None:
    """Copy the values into the model.

    Raises:
        CheckpointError: a weight is missing, unknown or of another shape; all of them are named.
    """
    expected = weights(model)
    problems = [*_absent(state, expected), *_misshapen(state, expected)]
    if problems:
        raise CheckpointError("the weights do not fit the configuration: " + "; ".join(problems))
    with torch.no_grad():
        for name, weight in expected.items():
            weight.parameter.copy_(state[name].reshape(weight.parameter.shape))


def _absent(state: Mapping[str, Tensor], expected: Mapping[str, Weight]) -> list[str]:
    missing = [name for name in expected if name not in state]
    unknown = [name for name in state if name not in expected]
    problems = [f"missing {name}{_nearest(name, unknown)}" for name in missing]
    return problems + [f"unknown {name}{_nearest(name, missing)}" for name in unknown]


def _nearest(name: str, others: list[str]) -> str:
    near = get_close_matches(name, others, n=1, cutoff=0.8)
    return f" (near {near[0]})" if near else ""


def _misshapen(state: Mapping[str, Tensor], expected: Mapping[str, Weight]) -> list[str]:
    return [
        f"{name} is {tuple(state[name].shape)} and not {weight.shape}"
        for name, weight in expected.items()
        if name in state and tuple(state[name].shape) != weight.shape
    ]


def read(model: Model) -> dict[str, Tensor]:
    """Return the model's values, copied, in the shapes of a checkpoint."""
    return {
        name: weight.parameter.detach().clone().reshape(weight.shape)
        for name, weight in weights(model).items()
    }
