"""The configuration of a Hugging Face Reformer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFaceConfig:
    """The entries of `config.json` that decide what a model computes, with their defaults.

    Left out are `chunk_size_feed_forward` and `chunk_size_lm_head`: they save memory, refuse
    lengths that they do not divide, and change no value.
    """

    vocab_size: int = 320
    hidden_size: int = 256
    num_attention_heads: int = 12
    attention_head_size: int = 64
    feed_forward_size: int = 512
    attn_layers: tuple[str, ...] = ("local", "lsh", "local", "lsh", "local", "lsh")
    is_decoder: bool = False
    hidden_act: str = "relu"
    layer_norm_eps: float = 1e-12
    initializer_range: float = 0.02
    max_position_embeddings: int = 4096
    axial_pos_embds: bool = True
    axial_pos_shape: tuple[int, ...] = (64, 64)
    axial_pos_embds_dim: tuple[int, ...] = (64, 192)
    axial_norm_std: float = 1.0
    hidden_dropout_prob: float = 0.05
    local_attn_chunk_length: int = 64
    local_num_chunks_before: int = 1
    local_num_chunks_after: int = 0
    local_attention_probs_dropout_prob: float = 0.05
    lsh_attn_chunk_length: int = 64
    lsh_num_chunks_before: int = 1
    lsh_num_chunks_after: int = 0
    lsh_attention_probs_dropout_prob: float = 0.0
    num_hashes: int = 1
    num_buckets: int | tuple[int, ...] | None = None
    hash_seed: int | None = None
    classifier_dropout: float | None = None
    num_labels: int = 2
    architectures: tuple[str, ...] = ()

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunk lengths of the kinds of layers that there are."""
        lengths = {"local": self.local_attn_chunk_length, "lsh": self.lsh_attn_chunk_length}
        return tuple(lengths[kind] for kind in sorted(set(self.attn_layers)))


def parse(config: Any) -> HuggingFaceConfig:
    """Read a configuration: a mapping, as in `config.json`, or an object of `transformers`.

    Entries that decide nothing (names, token ids, settings of generation) are passed over.

    Raises:
        ValueError: it is not a Reformer's, or asks for what no Reformer here can do.
    """
    given: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
    known = {f.name for f in fields(HuggingFaceConfig)}
    values = {name: _frozen(value) for name, value in given.items() if name in known}
    if "num_labels" not in values and given.get("id2label"):
        values["num_labels"] = len(given["id2label"])
    values["architectures"] = values.get("architectures") or ()
    found = HuggingFaceConfig(**values)
    problems = refusals(found, given)
    if problems:
        raise ValueError("config: " + "; ".join(problems))
    return found


def refusals(config: HuggingFaceConfig, given: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each entry that no Reformer here, or none at all, can have."""
    kinds = set(config.attn_layers)
    checks = {
        f"model_type: {given.get('model_type')!r}; allowed: 'reformer'": given.get(
            "model_type", "reformer"
        )
        == "reformer",
        f"attn_layers: {config.attn_layers}; at least one, each 'lsh' or 'local'": bool(kinds)
        and kinds <= {"lsh", "local"},
        f"hidden_act: {config.hidden_act!r}; allowed: 'relu', 'gelu'": config.hidden_act
        in {"relu", "gelu"},
        "tie_word_embeddings: a Reformer's output projection is wider than its embeddings": not (
            given.get("tie_word_embeddings")
        ),
    }
    return [sentence for sentence, fine in checks.items() if not fine]


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
