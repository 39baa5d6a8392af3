"""The published configurations build whole, and train at reduced length."""

from dataclasses import replace

import pytest
import torch

from models.reformer import Reformer, ReformerConfig

PAPER = ReformerConfig(  # Kitaev et al. 2020, section 5: enwik8 in pieces of 64k bytes
    vocab=256,
    d_model=1024,
    heads=8,
    d_ff=4096,
    layers=12,
    max_len=65536,
    attention="lsh",
    attention_options={"lsh": {"hashes": 8, "chunk": 128}},
    activation="relu",
    dropout=0.1,
    axial_shape=(128, 512),
    axial_dims=(256, 768),
    position_std=1.0,
    combine="concatenate",
)
PUBLISHED = {
    "paper enwik8": PAPER,
    "paper imagenet64": replace(
        PAPER,
        max_len=12288,
        axial_shape=(64, 64, 3),
        axial_dims=(384, 384, 256),
        activation="gelu",
        attention_options={"lsh": {"hashes": 8, "chunk": 128}},
    ),
    "google/reformer-enwik8": replace(
        PAPER,
        vocab=258,
        attention=("local", "local", "lsh", "local"),
        attention_options={
            "local": {"chunk": 128},
            "lsh": {"chunk": 256, "buckets": 512, "hashes": 4},
        },
        dropout=0.2,
        norm_eps=1e-12,
        head_bias=True,
    ),
    "google/reformer-crime-and-punishment": ReformerConfig(
        vocab=320,
        d_model=256,
        heads=2,
        head_dim=64,
        d_ff=512,
        layers=6,
        max_len=524288,
        attention=("local", "lsh"),
        attention_options={
            "local": {"chunk": 64},
            "lsh": {"chunk": 64, "buckets": (64, 128), "hashes": 1},
        },
        activation="relu",
        dropout=0.05,
        axial_shape=(512, 1024),
        axial_dims=(64, 192),
        position_std=1.0,
        combine="concatenate",
        norm_eps=1e-12,
        head_bias=True,
    ),
}
# Matrices and vectors by hand. A layer of shared vectors has 3 projections, a local one 4.
PARAMETERS = {
    "paper enwik8": 12 * (3 * 1024**2 + 2 * 4096 * 1024 + 5120 + 4096)
    + 256 * 3 * 1024  # tokens, and the output of twice the width
    + 128 * 256
    + 512 * 768
    + 4096,
    "google/reformer-crime-and-punishment": 3 * (3 + 4) * 256 * 128
    + 6 * (2 * 256 * 512 + 512 + 256 + 4 * 256)
    + 320 * 3 * 256
    + 320
    + 512 * 64
    + 1024 * 192
    + 1024,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_published_model_has_the_parameters_of_its_description(name: str) -> None:
    with torch.device("meta"):
        model = Reformer(PUBLISHED[name])
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_builds_whole(name: str) -> None:
    with torch.device("meta"):
        model = Reformer(PUBLISHED[name])
    assert len(model.stack.sublayers) == 2 * PUBLISHED[name].layers


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_trains_at_reduced_length(name: str) -> None:
    """The wide ones with one period of their layers, which the others repeat."""
    config = PUBLISHED[name]
    if config.d_model == 1024:
        config = replace(config, layers=4 if "local" in config.kinds else 1)
    length = 1 + max(options["chunk"] for options in config.attention_options.values())
    torch.manual_seed(0)
    model = Reformer(config)
    tokens = torch.randint(0, config.vocab, (1, length))
    loss = model.loss(tokens, tokens.roll(-1, 1))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
