"""Reads and writes the Reformers of Hugging Face `transformers`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.catalog import UnknownNameError, unknown
from models.checkpoint_config import HuggingFaceConfig, parse
from models.checkpoint_files import read_folder, write_folder
from models.checkpoint_names import (
    CAUSAL,
    MASKED,
    QUESTIONS,
    TEXTS,
    WORDS,
    Model,
    architecture_in,
    architecture_of,
    body_of,
    canonical,
    fill,
    read,
    recognised,
)
from models.checkpoint_translation import ours, theirs
from models.heads import CausalLM, MaskedLM, QuestionAnswering, SequenceClassifier
from models.reformer import Reformer


def from_huggingface(
    config: Any, state_dict: Mapping[str, Tensor], *, compat: str | None = None
) -> Model:
    """Return a checkpoint as a model of ours, in evaluation, in the precision of its weights.

    The names of the weights say which head there is: `lm_head` gives `CausalLM`, or `MaskedLM`
    where the configuration is no decoder's; `classifier` gives `SequenceClassifier`, `qa_outputs`
    `QuestionAnswering`, none of them a `Reformer` that returns hidden states. The output bias of
    a language model is added to its logits, as in versions of `transformers` up to 4.57; later
    ones read and forget it.

    Without `compat` the weights get this library's attention: no chunk at one end sees the other
    end, evaluation repeats itself, and a cache decodes. `compat="huggingface"` computes as the
    original does, to the rounding of floating-point numbers where `hash_seed` is set; without it
    the original draws new rotations at every call, and this one those of the seed 0.

    Args:
        config: a mapping, as in `config.json`, or a `ReformerConfig` of `transformers`.
        state_dict: weights by name.
        compat: None, or "huggingface".

    Raises:
        ValueError: the configuration is not a Reformer's, or asks for what is not there.
        CheckpointError: weights are missing, unknown or of another shape; all are named.
    """
    if compat not in {None, "huggingface"}:
        raise UnknownNameError(unknown("compat", str(compat), ["huggingface"]))
    parsed, state = parse(config), canonical(state_dict)
    architecture = architecture_in(state, parsed)
    with torch.random.fork_rng(devices=[]):  # for initial weights, which are all replaced
        model = _build(architecture, parsed, compat=compat is not None)
    words = next((value for name, value in state.items() if name.endswith(WORDS)), None)
    if words is not None:
        model.to(words.dtype)
    fill(model, state)
    return model.eval()


def to_huggingface(model: nn.Module, **entries: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a model as the configuration and the weights of `transformers`.

    What it computes there is what `compat="huggingface"` computes here.

    Args:
        model: a `Reformer`, or a head around one.
        entries: of the configuration that no model knows, as `pad_token_id=0`.

    Raises:
        ValueError: no model of `transformers` is like this; the message names every difference.
        TypeError: there is no such head, or the network is not a Reformer.
    """
    model = recognised(model)
    head: dict[str, Any] = {"architectures": (architecture_of(model),)}
    if isinstance(model, SequenceClassifier):
        if model.at != "first":
            raise ValueError(f"at: {model.at!r}; a classifier of theirs takes the first token")
        head |= {"classifier_dropout": model.dropout.p, "num_labels": model.out.out_features}
    config = asdict(theirs(body_of(model), **head))
    return {"model_type": "reformer", **config, **entries}, read(model)


def load(folder: str | Path, *, compat: str | None = None) -> Model:
    """Read a model from a folder with `config.json` and `model.safetensors` or `pytorch_model.bin`.

    Shards with an index are read too. See `from_huggingface` for `compat` and what it raises.

    Raises:
        FileNotFoundError: configuration or weights are not there.
        ImportError: the weights are safetensors, and the package is not installed.
    """
    return from_huggingface(*read_folder(Path(folder)), compat=compat)


def save(model: nn.Module, folder: str | Path, *, safetensors: bool = True, **entries: Any) -> None:
    """Write a model into a folder that `load` and `transformers` read.

    `safetensors=False` writes `pytorch_model.bin`. See `to_huggingface` for `entries` and what it
    raises.

    Raises:
        ImportError: safetensors are asked for, and the package is not installed.
    """
    config, state = to_huggingface(model, **entries)
    write_folder(Path(folder), config, state, safetensors=safetensors)


def _build(architecture: str, config: HuggingFaceConfig, *, compat: bool) -> Model:
    vocabulary = architecture in {CAUSAL, MASKED}
    body = Reformer(ours(config, compat=compat, head=vocabulary))
    if architecture == CAUSAL:
        return CausalLM(body)
    if architecture == MASKED:
        return MaskedLM(body)
    if architecture == QUESTIONS:
        return QuestionAnswering(body)
    if architecture == TEXTS:
        dropout = config.classifier_dropout
        return SequenceClassifier(
            body,
            classes=config.num_labels,
            dropout=config.hidden_dropout_prob if dropout is None else dropout,
            at="first",
        )
    return body
