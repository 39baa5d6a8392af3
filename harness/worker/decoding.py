"""A causal network that reads a prompt into a cache, and one token more from there."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

from models.generation import Decodes
from models.heads import CausalLM
from models.layers.cache import Cache
from models.reformer import Reformer
from models.transformer import Transformer
from models.variant import Unsupported

PHASES = ("prefill", "decode")
STRETCH = 32  # tokens that are decoded before the cache of the prompt is taken again


class Decoder:
    """The steps of both phases.

    A decoding step reads the next token of the text, so that the cache grows as it does in use:
    from `seq_len - STRETCH` tokens to `seq_len`, then from the prompt again. Caches are values;
    the first step after the prompt finds room made.

    Raises:
        Unsupported: the network is bidirectional, or another package's.
    """

    def __init__(self, model: nn.Module, tokens: Tensor) -> None:
        if not isinstance(model, Transformer | Reformer):
            raise Unsupported("only a transformer or reformer of ours decodes step by step here")
        if not model.config.causal:
            raise Unsupported("a bidirectional network does not decode step by step")
        model.eval()
        self._model: Decodes = CausalLM(model)
        self._tokens = tokens
        self._length = tokens.shape[1] - min(STRETCH, tokens.shape[1] // 2)
        self._prompt: Cache | None = None
        self._cache: Cache | None = None  # None: the prompt is to be taken again
        self._at = 0

    def prefill(self) -> Tensor:
        """Read all tokens; return the logits of what follows."""
        with torch.no_grad():
            logits, self._prompt = self._model.begin(self._tokens)
        return logits

    def decode(self) -> Tensor:
        """Read the next token; return the logits of what follows."""
        with torch.no_grad():
            if self._cache is None:
                self._cache, self._at = self._read(), self._length
            logits, self._cache = self._model.step(self._tokens[:, self._at], self._cache)
        self._at += 1
        if self._at == self._tokens.shape[1]:
            self._cache = None
        return logits

    def state_bytes(self) -> int:
        """Return the bytes of the tensors that the cache of the prompt holds, each once."""
        storages = [x.untyped_storage() for x in _tensors(self._read().states)]
        return sum({one.data_ptr(): one.nbytes() for one in storages}.values())

    def _read(self) -> Cache:
        """Return the cache of the prompt."""
        if self._prompt is None:
            with torch.no_grad():
                _, self._prompt = self._model.begin(self._tokens[:, : self._length])
        return self._prompt


def _tensors(tree: Any) -> list[Tensor]:
    """Return the tensors of a state, wherever they lie in it."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, list | tuple):
        return [x for part in tree for x in _tensors(part)]
    if is_dataclass(tree):
        return [x for field in fields(tree) for x in _tensors(getattr(tree, field.name))]
    return []
