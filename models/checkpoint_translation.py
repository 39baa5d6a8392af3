"""Our configuration of a Hugging Face Reformer, and theirs of one of ours."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from typing import Any

from models.checkpoint_config import HuggingFaceConfig, refusals
from models.layers.attention_layer import find_mechanism
from models.layers.positions import AxialPositions
from models.reformer import Reformer, ReformerConfig

COMPAT = "_huggingface"  # ends the names of the variants that compute as the original
FILLING = ("pad_over", "pad_to")  # options of those variants; None stands for the chunk
# Fields of ours that change no output of a trained network, or are compared in another way.
NEUTRAL = {
    *("impls", "reversible", "ff_section", "loss_section", "init_std", "position_std"),
    *("vocab_head", "head_bias", "head_dim", "axial_shape", "axial_dims"),
    *("attention", "attention_options"),
}


def ours(config: HuggingFaceConfig, *, compat: bool, head: bool) -> ReformerConfig:
    """Return our configuration; `compat` chooses the variants that compute as the original.

    Raises:
        ValueError: sizes do not fit together.
    """
    axial = config.axial_pos_embds
    places = math.prod(config.axial_pos_shape) if axial else config.max_position_embeddings
    ending = COMPAT if compat else ""
    options = _compat_options(config) if compat else _clean_options(config)
    kinds = tuple(kind + ending for kind in config.attn_layers)
    return ReformerConfig(
        vocab=config.vocab_size,
        d_model=config.hidden_size,
        heads=config.num_attention_heads,
        head_dim=config.attention_head_size,
        d_ff=config.feed_forward_size,
        layers=len(kinds),
        max_len=min(config.max_position_embeddings, places),
        causal=config.is_decoder,
        activation=config.hidden_act,
        dropout=config.hidden_dropout_prob,
        positions="axial" if axial else "learned",
        axial_shape=config.axial_pos_shape if axial else None,
        axial_dims=config.axial_pos_embds_dim if axial else None,
        norm_eps=config.layer_norm_eps,
        init_std=config.initializer_range,
        position_std=config.axial_norm_std if axial else config.initializer_range,
        attention=kinds,
        attention_options={kind: options[kind] for kind in kinds},
        combine="concatenate",
        vocab_head=head,
        head_bias=head,
    )


def _clean_options(config: HuggingFaceConfig) -> dict[str, dict[str, Any]]:
    lsh = {
        "hashes": config.num_hashes,
        "chunk": config.lsh_attn_chunk_length,
        "buckets": config.num_buckets,
        "before": config.lsh_num_chunks_before,
        "after": config.lsh_num_chunks_after,
        "attention_dropout": config.lsh_attention_probs_dropout_prob,
        # Their training draws new rotations at each call unless it has a seed.
        "seed": config.hash_seed or 0,
        "redraw": config.hash_seed is None,
    }
    local = {
        "chunk": config.local_attn_chunk_length,
        "before": config.local_num_chunks_before,
        # Causal attention takes nothing from later chunks.
        "after": 0 if config.is_decoder else config.local_num_chunks_after,
        "attention_dropout": config.local_attention_probs_dropout_prob,
    }
    return {"lsh": lsh, "local": local}


def _compat_options(config: HuggingFaceConfig) -> dict[str, dict[str, Any]]:
    clean = _clean_options(config)
    lsh, local = clean["lsh"], clean["local"]
    del lsh["seed"], lsh["redraw"]
    filling = {"pad_over": min(config.chunks), "pad_to": math.lcm(*config.chunks)}
    lsh |= {
        "hash_seed": config.hash_seed,
        "hash_dtype": "vectors",
        "max_positions": config.max_position_embeddings,
        **filling,
    }
    local |= {"after": config.local_num_chunks_after, **filling}
    return {"lsh" + COMPAT: lsh, "local" + COMPAT: local}


def theirs(body: Reformer, **head: Any) -> HuggingFaceConfig:
    """Return their configuration of our network; `head` are entries that its head decides.

    Raises:
        ValueError: the network does what theirs has no entry for; the message names it all.
    """
    config = body.config
    compat = any(kind.endswith(COMPAT) for kind in config.kinds)
    kinds = tuple(kind.removesuffix(COMPAT) for kind in config.kinds)
    _refuse([f"attention: {kind!r}" for kind in kinds if kind not in {"lsh", "local"}])
    options = _options(config)
    values = {"classifier_dropout": None, **head}
    for kind, found in options.items():
        values |= _lsh_entries(found) if kind.startswith("lsh") else _local_entries(found)
    if isinstance(body.embedding.positions, AxialPositions):
        weights = body.embedding.positions.weights
        values["axial_pos_shape"] = tuple(weight.shape[0] for weight in weights)
        values["axial_pos_embds_dim"] = tuple(weight.shape[1] for weight in weights)
        values["axial_norm_std"] = config.position_std
    found = HuggingFaceConfig(
        vocab_size=config.vocab,
        hidden_size=config.d_model,
        num_attention_heads=config.heads,
        attention_head_size=config.head_size,
        feed_forward_size=config.d_ff,
        attn_layers=kinds,
        is_decoder=config.causal,
        hidden_act=config.activation,
        layer_norm_eps=config.norm_eps,
        initializer_range=config.init_std,
        axial_pos_embds=config.positions == "axial",
        hidden_dropout_prob=config.dropout,
        **{"max_position_embeddings": config.max_len, **values},
    )
    _refuse([*refusals(found, {}), *_differences(config, ours(found, compat=compat, head=False))])
    return found


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ValueError("no Hugging Face Reformer is like this: " + "; ".join(problems))


def _differences(config: ReformerConfig, back: ReformerConfig) -> list[str]:
    """Tell what was lost on the way there and back."""
    pairs = {f.name: (getattr(config, f.name), getattr(back, f.name)) for f in fields(config)}
    pairs = {name: pair for name, pair in pairs.items() if name not in NEUTRAL}
    pairs["attention"] = (config.kinds, back.kinds)
    found = _options(back)
    for kind, options in _options(config).items():
        for name, value in asdict(options).items():
            if name != "hash_dtype":  # the same in single precision
                pairs[f"option {name} of {kind}"] = (value, getattr(found.get(kind), name, None))
    if config.positions == "axial" and back.axial_shape is not None:
        pairs["number of axes"] = (len(back.axial_shape), 2)
    return [
        f"{name}: {one!r}, not {other!r}" for name, (one, other) in pairs.items() if one != other
    ]


def _options(config: ReformerConfig) -> dict[str, Any]:
    """Return the options of each kind of layer, with every default filled in."""
    found = {
        kind: find_mechanism(kind, config.attention_options.get(kind)).options
        for kind in dict.fromkeys(config.kinds)
    }
    for kind, options in found.items():
        if kind == "local":
            found[kind] = replace(options, after=options.window(causal=config.causal).after)
        if kind.endswith(COMPAT):
            filling = {name: getattr(options, name) or options.chunk for name in FILLING}
            found[kind] = replace(options, **filling)
    return found


def _lsh_entries(options: Any) -> dict[str, Any]:
    names = {f.name for f in fields(options)}
    entries = {
        "num_hashes": options.hashes,
        "lsh_attn_chunk_length": options.chunk,
        "num_buckets": options.buckets,
        "lsh_num_chunks_before": options.before,
        "lsh_num_chunks_after": options.after,
        "lsh_attention_probs_dropout_prob": options.attention_dropout,
    }
    if "hash_seed" in names:
        return {
            **entries,
            "hash_seed": options.hash_seed,
            "max_position_embeddings": options.max_positions,
        }
    return {**entries, "hash_seed": None if options.redraw else options.seed}


def _local_entries(options: Any) -> dict[str, Any]:
    return {
        "local_attn_chunk_length": options.chunk,
        "local_num_chunks_before": options.before,
        "local_num_chunks_after": options.after,
        "local_attention_probs_dropout_prob": options.attention_dropout,
    }
