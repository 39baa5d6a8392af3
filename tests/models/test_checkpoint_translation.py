"""Configurations there and back, and what theirs cannot say."""

from typing import Any

import pytest

from models.checkpoint_config import HuggingFaceConfig, parse
from models.checkpoint_translation import ours, theirs
from models.reformer import Reformer, ReformerConfig

SIZES: dict[str, Any] = {
    "vocab": 9,
    "d_model": 8,
    "heads": 2,
    "d_ff": 12,
    "layers": 2,
    "max_len": 16,
}
PLAIN: dict[str, Any] = {**SIZES, "activation": "relu", "combine": "concatenate"}
ENTRIES: list[dict[str, Any]] = [
    {},
    {"is_decoder": True},
    {"attn_layers": ["lsh"], "num_hashes": 3, "num_buckets": [4, 8]},
    {"attn_layers": ["local"] * 2, "local_num_chunks_after": 2, "hidden_act": "gelu"},
    {"axial_pos_embds": False, "max_position_embeddings": 128, "num_attention_heads": 2},
    {"lsh_attn_chunk_length": 24, "local_attn_chunk_length": 36, "lsh_num_chunks_after": 1},
    {"hidden_dropout_prob": 0.3, "lsh_attention_probs_dropout_prob": 0.1, "hash_seed": 0},
    {"layer_norm_eps": 1e-6, "initializer_range": 0.1, "axial_norm_std": 0.5, "hash_seed": 7},
]


@pytest.mark.parametrize("compat", [False, True])
@pytest.mark.parametrize("entries", ENTRIES)
def test_a_configuration_comes_back_as_it_was(entries: dict[str, Any], compat: bool) -> None:
    config = parse(entries)
    kinds = set(config.attn_layers)
    found = theirs(Reformer(ours(config, compat=compat, head=True)))
    for kind in {"lsh", "local"} - kinds:  # nothing is known of layers that there are not
        config = without(config, kind)
    assert without(found, "none") == config


def without(config: HuggingFaceConfig, kind: str) -> HuggingFaceConfig:
    names = [name for name in HuggingFaceConfig.__slots__ if name.startswith(f"{kind}_")]
    default = HuggingFaceConfig()
    values = {name: getattr(config, name) for name in HuggingFaceConfig.__slots__}
    return HuggingFaceConfig(**values | {name: getattr(default, name) for name in names})


@pytest.mark.parametrize("kind", ["lsh", "local", "lsh_huggingface", "local_huggingface"])
def test_a_network_of_ours_that_says_nothing_special_has_a_counterpart(kind: str) -> None:
    options = {kind: {"max_positions": 16}} if kind == "lsh_huggingface" else {}
    config = ReformerConfig(**PLAIN, attention=[kind], attention_options=options)
    found = theirs(Reformer(config))
    assert found.attn_layers == (kind.removesuffix("_huggingface"),) * 2
    assert found.axial_pos_shape == (4, 4)
    assert found.axial_pos_embds_dim == (4, 4)
    assert found.layer_norm_eps == 1e-5


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"combine": "mean"}, "combine: 'mean', not 'concatenate'"),
        ({"activation": "swiglu"}, "hidden_act: 'swiglu'"),
        ({"positions": "rotary"}, "positions: 'rotary', not 'learned'"),
        ({"attention": ["full"]}, "attention: 'full'"),
        ({"axial_shape": (2, 2, 4), "axial_dims": (2, 2, 4)}, "number of axes: 3, not 2"),
        ({"attention": ["lsh", "local_huggingface"]}, "attention: .*'lsh', 'local_huggingface'"),
        (
            {"attention": ["lsh"], "attention_options": {"lsh": {"same_bucket": True}}},
            "option same_bucket of lsh: True, not False",
        ),
        (
            {"attention": ["lsh"], "attention_options": {"lsh": {"logit_scale": "sqrt_d"}}},
            "option logit_scale of lsh: 'sqrt_d'",
        ),
    ],
)
def test_what_theirs_cannot_say_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"no Hugging Face Reformer is like this: .*{message}"):
        theirs(Reformer(ReformerConfig(**{**PLAIN, "attention": ["lsh"], **values})))
