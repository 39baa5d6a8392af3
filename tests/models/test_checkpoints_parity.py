"""Checkpoints of random weights compute here what they compute in `transformers`."""

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from models.checkpoint_names import body_of
from models.checkpoints import from_huggingface, to_huggingface

LENGTH = 21  # no multiple of a chunk length
EXACT = 1e-10  # of float64
LM, MLM = "ReformerModelWithLMHead", "ReformerForMaskedLM"
CLASSIFIER, QUESTIONS = "ReformerForSequenceClassification", "ReformerForQuestionAnswering"


def original(
    transformers: ModuleType, name: str, dtype: torch.dtype = torch.float64, **entries: Any
) -> Any:
    """Return a small model of theirs with large weights, so that no part goes unnoticed."""
    given: dict[str, Any] = {
        "attn_layers": ["local", "lsh"],
        "hidden_size": 16,
        "num_attention_heads": 3,
        "attention_head_size": 6,
        "feed_forward_size": 24,
        "vocab_size": 20,
        "axial_pos_shape": [8, 8],
        "axial_pos_embds_dim": [4, 12],
        "max_position_embeddings": 64,
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 8,
        "num_hashes": 2,
        "hash_seed": 5,
        "hidden_dropout_prob": 0.0,
        "local_attention_probs_dropout_prob": 0.0,
        "is_decoder": name == LM,
        "use_cache": False,
        **entries,
    }
    config = transformers.ReformerConfig(**given)
    with torch.random.fork_rng():
        model = getattr(transformers, name)(config).to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(0.5 * values)
        if hasattr(model, "lm_head"):
            model.lm_head.bias.zero_()  # which theirs forgets; see test_checkpoints
    return model


def tokens(length: int = LENGTH) -> Tensor:
    return torch.randint(1, 20, (2, length), generator=torch.Generator().manual_seed(2))


def theirs(model: Any, mask: Tensor | None = None, length: int = LENGTH) -> Tensor:
    with torch.no_grad(), torch.random.fork_rng():  # it seeds the global generator
        out = model(tokens(length), attention_mask=None if mask is None else mask.long())
    if hasattr(out, "start_logits"):
        return torch.stack([out.start_logits, out.end_logits], dim=-1)
    return out[0]


def same(model: Any) -> Any:
    return from_huggingface(model.config, model.state_dict(), compat="huggingface")


def largest_difference(model: Any, length: int = LENGTH) -> float:
    with torch.no_grad():
        found = same(model)(tokens(length))
    if hasattr(found, "start"):
        found = torch.stack([found.start, found.end], dim=-1)
    expected = theirs(model, length=length)
    assert found.dtype == expected.dtype
    assert expected.abs().max() > 1
    return (found - expected).abs().max().item()


@pytest.mark.parametrize("hashes", [1, 2, 3, 4])
@pytest.mark.parametrize(
    "kinds", [["local"], ["lsh"], ["local", "lsh"] * 2, ["lsh", "local", "local", "lsh"]]
)
def test_logits_agree_for_every_mix_of_layers_and_number_of_hashes(
    transformers: ModuleType, kinds: list[str], hashes: int
) -> None:
    model = original(transformers, LM, attn_layers=kinds, num_hashes=hashes)
    assert largest_difference(model) < EXACT


@pytest.mark.parametrize("length", [1, 3, 4, 5, 8, 9, 16, 17, 40, 63, 64])
@pytest.mark.parametrize("name", [LM, MLM])
def test_logits_agree_at_every_length(transformers: ModuleType, name: str, length: int) -> None:
    assert largest_difference(original(transformers, name), length) < EXACT


@pytest.mark.parametrize("length", [5, 12, 13])
def test_logits_agree_where_no_chunk_length_divides_the_other(
    transformers: ModuleType, length: int
) -> None:
    """Five tokens fit into one LSH chunk, and are filled up to two."""
    model = original(transformers, MLM, lsh_attn_chunk_length=6)
    assert largest_difference(model, length) < EXACT


@pytest.mark.parametrize("buckets", [None, 6, [8], [4, 6], [2, 4, 2]])
@pytest.mark.parametrize("name", [LM, MLM])
def test_logits_agree_for_plain_and_factorised_buckets(
    transformers: ModuleType, name: str, buckets: int | list[int] | None
) -> None:
    assert largest_difference(original(transformers, name, num_buckets=buckets)) < EXACT


@pytest.mark.parametrize(("before", "after"), [(0, 0), (1, 1), (2, 0), (0, 2), (5, 4)])
def test_logits_agree_for_every_window_around_the_circle(
    transformers: ModuleType, before: int, after: int
) -> None:
    window: dict[str, Any] = {
        f"{kind}_num_chunks_{side}": count
        for kind in ("local", "lsh")
        for side, count in (("before", before), ("after", after))
    }
    assert largest_difference(original(transformers, MLM, **window)) < EXACT


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [16, LENGTH])
@pytest.mark.parametrize("side", ["left", "right", "middle"])
def test_states_of_tokens_agree_under_a_mask(
    transformers: ModuleType, side: str, length: int, causal: bool
) -> None:
    """At padding theirs computes what nobody reads; ours gives attention no output there."""
    model = original(transformers, "ReformerModel", is_decoder=causal)
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[1, {"left": slice(6), "right": slice(-6, None), "middle": slice(5, 12)}[side]] = False
    places = torch.arange(length).expand(2, -1)  # theirs counts padding as places
    with torch.no_grad():
        found = same(model)(tokens(length), mask=mask, positions=places)
    expected = theirs(model, mask, length)
    assert (found - expected)[mask].abs().max() < EXACT


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("entries", [{}, {"axial_pos_embds": False}, {"hidden_act": "gelu"}])
def test_hidden_states_of_the_bare_model_agree(
    transformers: ModuleType, entries: dict[str, Any], causal: bool
) -> None:
    model = original(transformers, "ReformerModel", is_decoder=causal, **entries)
    assert largest_difference(model) < EXACT


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(
    ("name", "entries"), [(CLASSIFIER, {"num_labels": 5}), (CLASSIFIER, {}), (QUESTIONS, {})]
)
def test_logits_of_the_other_heads_agree(
    transformers: ModuleType, name: str, entries: dict[str, Any], causal: bool
) -> None:
    assert largest_difference(original(transformers, name, is_decoder=causal, **entries)) < EXACT


@pytest.mark.parametrize("name", [LM, MLM, CLASSIFIER, QUESTIONS, "ReformerModel"])
def test_logits_agree_in_single_precision(transformers: ModuleType, name: str) -> None:
    assert largest_difference(original(transformers, name, torch.float32)) < 1e-5


@pytest.mark.parametrize("name", [LM, MLM])
def test_gradients_agree_without_dropout(transformers: ModuleType, name: str) -> None:
    """With dropout theirs are wrong, and ours are held to plain autograd."""
    model = original(transformers, name, attn_layers=["local", "lsh", "lsh"], num_hashes=3)
    ours = same(model).train()
    inputs = tokens(64)  # theirs trains at the full length only
    with torch.random.fork_rng():
        model.train()(inputs).logits.logsumexp(-1).sum().backward()
    ours(inputs).logsumexp(-1).sum().backward()
    for parameter in ours.parameters():
        parameter.data = parameter.grad if parameter.grad is not None else 0 * parameter.data
    found = to_huggingface(ours)[1]
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert len(expected) == len(found) - 1  # all but the output bias, which theirs forgets
    for key, gradient in expected.items():
        assert (found[key] - gradient).norm() < EXACT * gradient.norm()


@pytest.mark.parametrize("name", [LM, MLM, CLASSIFIER, QUESTIONS, "ReformerModel"])
def test_theirs_computes_what_ours_does_from_what_ours_wrote(
    transformers: ModuleType, name: str
) -> None:
    model = original(transformers, name, attn_layers=["lsh", "local", "lsh"], num_hashes=3)
    config, state = to_huggingface(same(model))
    again = getattr(transformers, config["architectures"][0])(
        transformers.ReformerConfig(**config, use_cache=False)
    )
    again.double().load_state_dict(state)
    assert type(again) is type(model)
    assert torch.equal(theirs(again.eval()), theirs(model))


def test_positions_may_be_given_where_the_input_is_filled_up(transformers: ModuleType) -> None:
    """Theirs raises an error."""
    model = same(original(transformers, LM))
    places = torch.arange(LENGTH).expand(2, -1)
    with torch.no_grad():
        found = body_of(model)(tokens(), positions=places + 3)
        moved = body_of(model)(tokens(), positions=places)
        assert torch.equal(moved, model(tokens()))
    assert not torch.equal(found, moved)
