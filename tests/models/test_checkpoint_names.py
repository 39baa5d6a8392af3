"""The names of a checkpoint's weights: the published list, and what does not fit it."""

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.checkpoint_names import CheckpointError, weights
from models.checkpoints import from_huggingface, to_huggingface
from models.heads import TokenClassifier
from models.reformer import Reformer, ReformerConfig

# Both published configurations. The second is smaller here than there, by 16: hidden_size 1024,
# attention_head_size 128, feed_forward_size 4096, axial_pos_embds_dim (256, 768); and by 8: chunk
# lengths 128 and 256.
CRIME_AND_PUNISHMENT: dict[str, Any] = {
    "architectures": ["ReformerModelWithLMHead"],
    "attention_head_size": 64,
    "attn_layers": ["local", "lsh"] * 3,
    "axial_pos_embds": True,
    "axial_pos_embds_dim": [64, 192],
    "axial_pos_shape": [512, 1024],
    "feed_forward_size": 512,
    "hash_seed": None,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.05,
    "hidden_size": 256,
    "is_decoder": True,
    "local_attention_probs_dropout_prob": 0.05,
    "local_attn_chunk_length": 64,
    "lsh_attention_probs_dropout_prob": 0.0,
    "lsh_attn_chunk_length": 64,
    "max_position_embeddings": 524288,
    "model_type": "reformer",
    "num_attention_heads": 2,
    "num_buckets": [64, 128],
    "num_hashes": 1,
    "vocab_size": 320,
}
ENWIK8: dict[str, Any] = {
    "architectures": ["ReformerModelWithLMHead"],
    "attention_head_size": 8,
    "attn_layers": ["local", "local", "lsh", "local"] * 3,
    "axial_pos_embds": True,
    "axial_pos_embds_dim": [16, 48],
    "axial_pos_shape": [128, 512],
    "feed_forward_size": 256,
    "hidden_act": "relu",
    "hidden_dropout_prob": 0.2,
    "hidden_size": 64,
    "is_decoder": True,
    "local_attention_probs_dropout_prob": 0.2,
    "local_attn_chunk_length": 16,
    "lsh_attention_probs_dropout_prob": 0.1,
    "lsh_attn_chunk_length": 32,
    "max_position_embeddings": 65536,
    "model_type": "reformer",
    "num_attention_heads": 8,
    "num_buckets": 512,
    "num_hashes": 4,
    "vocab_size": 258,
}
published = pytest.mark.parametrize("config", [CRIME_AND_PUNISHMENT, ENWIK8])


def table(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a language model's weights, as they are published."""
    h, f, v = config["hidden_size"], config["feed_forward_size"], config["vocab_size"]
    a = config["num_attention_heads"] * config["attention_head_size"]
    (n1, n2), (d1, d2) = config["axial_pos_shape"], config["axial_pos_embds_dim"]
    shapes: dict[str, tuple[int, ...]] = {
        "reformer.embeddings.word_embeddings.weight": (v, h),
        "reformer.embeddings.position_embeddings.weights.0": (n1, 1, d1),
        "reformer.embeddings.position_embeddings.weights.1": (1, n2, d2),
        "reformer.encoder.layer_norm.weight": (2 * h,),
        "reformer.encoder.layer_norm.bias": (2 * h,),
        "lm_head.bias": (v,),
        "lm_head.decoder.weight": (v, 2 * h),
    }
    for i, kind in enumerate(config["attn_layers"]):
        layer = f"reformer.encoder.layers.{i}."
        for name in ["query_key", "value"] if kind == "lsh" else ["query", "key", "value"]:
            shapes[f"{layer}attention.self_attention.{name}.weight"] = (a, h)
        shapes[f"{layer}attention.output.dense.weight"] = (h, a)
        for norm in ("attention.layer_norm", "feed_forward.layer_norm"):
            shapes[f"{layer}{norm}.weight"] = shapes[f"{layer}{norm}.bias"] = (h,)
        shapes[f"{layer}feed_forward.dense.dense.weight"] = (f, h)
        shapes[f"{layer}feed_forward.dense.dense.bias"] = (f,)
        shapes[f"{layer}feed_forward.output.dense.weight"] = (h, f)
        shapes[f"{layer}feed_forward.output.dense.bias"] = (h,)
    return shapes


def random(config: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: 0.1 * torch.randn(shape, generator=generator).to(dtype)
        for name, shape in table(config).items()
    }


@pytest.mark.parametrize("compat", [None, "huggingface"])
@published
def test_published_configurations_build_and_run_and_keep_every_weight(
    config: dict[str, Any], compat: str | None
) -> None:
    state = random(config)
    model = from_huggingface(config, state, compat=compat)
    found_config, found = to_huggingface(model)
    assert {name: tuple(value.shape) for name, value in found.items()} == table(config)
    assert all(torch.equal(found[name], value) for name, value in state.items())
    found_config = {name: found_config[name] for name in config}
    assert found_config == {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}

    length = config["lsh_attn_chunk_length"] + 5
    tokens = torch.randint(config["vocab_size"], (1, length))
    with torch.no_grad():
        logits = model(tokens)
    assert logits.shape == (1, length, config["vocab_size"])
    assert logits.isfinite().all()


@published
def test_the_original_has_the_published_names(
    transformers: ModuleType, config: dict[str, Any]
) -> None:
    with torch.device("meta"):
        model = transformers.ReformerModelWithLMHead(transformers.ReformerConfig(**config))
    assert {name: tuple(v.shape) for name, v in model.state_dict().items()} == table(config)


@published
def test_every_parameter_of_ours_is_a_weight_of_theirs(config: dict[str, Any]) -> None:
    model = from_huggingface(config, random(config))
    named = {id(weight.parameter) for weight in weights(model).values()}
    assert named == {id(parameter) for parameter in model.parameters()}
    count = sum(math.prod(shape) for shape in table(config).values())
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_model_has_the_precision_of_its_weights(dtype: torch.dtype) -> None:
    model = from_huggingface(ENWIK8, random(ENWIK8, dtype))
    assert {p.dtype for p in model.parameters()} == {dtype}


def test_constants_of_old_files_are_passed_over() -> None:
    state = random(ENWIK8)
    layer = "reformer.encoder.layers.2.attention.self_attention."
    for name in ("self_mask_value_float16", "self_mask_value_float32", "mask_value_float16"):
        state[layer + name] = torch.tensor(-1e3)
    state[layer + "mask_value"] = torch.tensor(-1e9)
    from_huggingface(ENWIK8, state)


def test_all_that_does_not_fit_is_named_with_what_is_near() -> None:
    state = random(ENWIK8)
    layer = "reformer.encoder.layers.3."
    state[layer + "attention.self_attention.keys.weight"] = state.pop(
        layer + "attention.self_attention.key.weight"
    )
    del state["lm_head.bias"]
    state["extra"] = torch.zeros(1)
    state["reformer.encoder.layer_norm.bias"] = torch.zeros(64)
    with pytest.raises(CheckpointError) as caught:
        from_huggingface(ENWIK8, state)
    for sentence in (
        f"missing {layer}attention.self_attention.key.weight "
        f"(near {layer}attention.self_attention.keys.weight)",
        "missing lm_head.bias;",
        f"unknown {layer}attention.self_attention.keys.weight (near {layer}",
        "unknown extra;",
        "reformer.encoder.layer_norm.bias is (64,) and not (128,)",
    ):
        assert sentence in str(caught.value) + ";"


def test_weights_of_several_heads_are_refused() -> None:
    state = random(ENWIK8) | {"qa_outputs.bias": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="QuestionAnswering, ReformerModelWithLMHead"):
        from_huggingface(ENWIK8, state)


def test_the_configuration_tells_the_head_where_no_weight_does() -> None:
    state = {name: value for name, value in random(ENWIK8).items() if "lm_head" not in name}
    with pytest.raises(CheckpointError, match=r"missing lm_head\.decoder\.weight"):
        from_huggingface(ENWIK8, state)
    with pytest.raises(CheckpointError, match="did you mean 'ReformerModel'"):
        from_huggingface(ENWIK8 | {"architectures": ["ReformerModell"]}, state)
    bare = {name.removeprefix("reformer."): value for name, value in state.items()}
    assert isinstance(from_huggingface(ENWIK8 | {"architectures": None}, bare), Reformer)


def test_what_theirs_has_no_class_for_is_refused() -> None:
    config = ReformerConfig(vocab=9, d_model=8, heads=2, d_ff=8, layers=1, max_len=16)
    model: Any = TokenClassifier(Reformer(config), classes=3)
    with pytest.raises(TypeError, match="TokenClassifier around Reformer has no counterpart"):
        to_huggingface(model)
    other: Any = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="Linear has no counterpart"):
        to_huggingface(other)
