"""Reading and writing checkpoints, without the defects of the library that they come from."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from models.catalog import UnknownNameError
from models.checkpoint_names import BIAS, LINKED_BIAS, CheckpointError, body_of
from models.checkpoints import from_huggingface, load, save, to_huggingface
from models.generation import generate
from models.heads import CausalLM, MaskedLM, QuestionAnswering, SequenceClassifier
from models.reformer import Reformer, ReformerConfig

NAMES = [
    "ReformerModel",
    "ReformerModelWithLMHead",
    "ReformerForMaskedLM",
    "ReformerForSequenceClassification",
    "ReformerForQuestionAnswering",
]
either = pytest.mark.parametrize("compat", [None, "huggingface"])


def ours(name: str = "ReformerModelWithLMHead", **values: Any) -> Any:
    """Return a model of random weights by its name there, made here."""
    config = ReformerConfig(
        vocab=20,
        d_model=16,
        heads=2,
        d_ff=24,
        layers=2,
        max_len=60,
        activation="relu",
        combine="concatenate",
        attention=["local", "lsh"],
        attention_options={"local": {"chunk": 4, "after": 0}, "lsh": {"chunk": 8}},
        causal=name in {"ReformerModel", "ReformerModelWithLMHead"},
        vocab_head=name in {"ReformerModelWithLMHead", "ReformerForMaskedLM"},
        head_bias=True,
        init_std=0.5,
        **values,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        body = Reformer(config)
        model = {
            "ReformerModel": lambda: body,
            "ReformerModelWithLMHead": lambda: CausalLM(body),
            "ReformerForMaskedLM": lambda: MaskedLM(body),
            "ReformerForSequenceClassification": lambda: SequenceClassifier(body, classes=3),
            "ReformerForQuestionAnswering": lambda: QuestionAnswering(body),
        }[name]()
    if isinstance(body.head, torch.nn.Linear):
        torch.nn.init.normal_(body.head.bias, generator=torch.Generator().manual_seed(1))
    return model.eval()


def tokens(length: int = 21, rows: int = 2) -> Tensor:
    return torch.randint(1, 20, (rows, length), generator=torch.Generator().manual_seed(2))


def logits(model: Any, length: int = 21) -> Tensor:
    with torch.no_grad():
        out = model(tokens(length))
    return torch.stack([out.start, out.end]) if hasattr(out, "start") else out


@pytest.mark.parametrize("safetensors", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_model_comes_back_from_a_folder_as_it_was(
    tmp_path: Path, name: str, safetensors: bool
) -> None:
    model = ours(name)
    save(model, tmp_path, safetensors=safetensors, pad_token_id=0)
    again = load(tmp_path)
    assert type(again) is type(model)
    assert not again.training
    assert torch.equal(logits(again), logits(model))
    assert model.state_dict().keys() == again.state_dict().keys()
    assert '"pad_token_id": 0' in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("safetensors", [True, False])
def test_the_original_reads_a_folder_of_ours_and_ours_one_of_its(
    tmp_path: Path, transformers: ModuleType, safetensors: bool
) -> None:
    model = ours()
    save(model, tmp_path / "ours", safetensors=safetensors)
    theirs = transformers.ReformerModelWithLMHead.from_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size="8KB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").is_file()
    assert torch.equal(logits(load(tmp_path / "theirs")), logits(model))


@either
def test_reading_and_writing_again_are_the_identity(compat: str | None) -> None:
    config, state = to_huggingface(ours())
    again, found = to_huggingface(from_huggingface(config, state, compat=compat))
    assert again == config
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_what_is_written_shares_no_memory_with_the_model() -> None:
    model = ours()
    before = logits(model)
    for value in to_huggingface(model)[1].values():
        value.zero_()
    assert torch.equal(logits(model), before)


def test_the_output_bias_is_added_as_it_was_until_it_got_lost(transformers: ModuleType) -> None:
    """Version 5 reads the bias and never adds it; up to 4.57 it was the bias of the projection."""
    config, state = to_huggingface(ours())
    theirs = transformers.ReformerModelWithLMHead(
        transformers.ReformerConfig(**config, use_cache=False)
    )
    theirs.load_state_dict(state)
    model: Any = from_huggingface(config, state)
    bias = state[BIAS]
    with torch.no_grad():
        hidden = model.body.hidden(tokens())
        expected = hidden @ theirs.lm_head.decoder.weight.T + bias
    assert bias.abs().min() > 0
    torch.testing.assert_close(logits(model), expected)
    state[BIAS] = torch.zeros(20)
    torch.testing.assert_close(logits(model) - bias, logits(from_huggingface(config, state)))


def test_the_output_bias_has_two_names_in_old_files_and_one_value() -> None:
    config, state = to_huggingface(ours())
    expected = logits(from_huggingface(config, state))
    both = state | {LINKED_BIAS: state[BIAS].clone()}
    assert torch.equal(logits(from_huggingface(config, both)), expected)
    linked = {LINKED_BIAS if name == BIAS else name: value for name, value in state.items()}
    assert torch.equal(logits(from_huggingface(config, linked)), expected)
    with pytest.raises(CheckpointError, match=r"lm_head\.bias and lm_head\.decoder\.bias differ"):
        from_huggingface(config, state | {LINKED_BIAS: torch.zeros(20)})


def test_a_projection_without_bias_is_written_with_one_of_zeros() -> None:
    body = Reformer(replace(body_of(ours()).config, head_bias=False))
    state = to_huggingface(body)[1]
    assert torch.equal(state[BIAS], torch.zeros(20))


@either
def test_the_random_state_is_left_alone_and_evaluation_repeats(compat: str | None) -> None:
    """Theirs seeds the global generator at each call, or hashes anew, which changes the logits."""
    config, state = to_huggingface(ours())
    for seed in (None, 3):
        torch.manual_seed(99)
        random = torch.get_rng_state()
        model: Any = from_huggingface(config | {"hash_seed": seed}, state, compat=compat)
        assert torch.equal(logits(model), logits(model))
        assert torch.equal(torch.get_rng_state(), random)


def test_the_hash_seed_decides_the_rotations() -> None:
    config, state = to_huggingface(ours())
    found = [
        logits(from_huggingface(config | {"hash_seed": seed}, state, compat="huggingface"))
        for seed in (None, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[1], found[2])


@either
def test_a_first_sequence_leaves_no_trace_in_the_number_of_buckets(compat: str | None) -> None:
    """Theirs keeps the count of the first sequence, also where it is far too small."""
    config, state = to_huggingface(ours())
    model = from_huggingface(config, state, compat=compat)
    logits(model, 3)
    logits(model, 12)
    fresh = from_huggingface(config, state, compat=compat)
    assert torch.equal(logits(model, 57), logits(fresh, 57))
    assert to_huggingface(model)[0]["num_buckets"] is None


@either
def test_a_short_prompt_is_continued_beyond_a_chunk_in_every_row(compat: str | None) -> None:
    """Theirs fails there where `num_buckets` is not set, and reads the first row's states."""
    model: Any = from_huggingface(*to_huggingface(ours()), compat=compat)
    prompt = tokens(3, rows=3)
    found = generate(model, prompt, max_new_tokens=9).tokens
    for row in range(3):
        alone = generate(model, prompt[row : row + 1], max_new_tokens=9).tokens
        assert torch.equal(found[row : row + 1], alone)


def test_cached_steps_compute_what_the_whole_sequence_does() -> None:
    """In the original's arithmetic; the library's own is held to it with its other variants."""
    state = to_huggingface(ours())
    model: Any = from_huggingface(*state, compat="huggingface").double()
    sequence = tokens(12)
    with torch.no_grad():
        found, cache = model.begin(sequence[:, :5])
        for t in range(5, 12):
            torch.testing.assert_close(found, model(sequence[:, :t])[:, -1])
            found, cache = model.step(sequence[:, t], cache)


@either
def test_lengths_need_not_fit_chunks_nor_the_table_of_positions(compat: str | None) -> None:
    """Theirs trains at the table's full length only, and fills 57 up to 64 of 60 positions."""
    model: Any = from_huggingface(*to_huggingface(ours()), compat=compat).train()
    for length in (1, 13, 57):
        loss = model(tokens(length)).logsumexp(-1).sum()
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        assert all(gradient.isfinite().all() for gradient in gradients)


@either
def test_gradients_are_those_of_plain_autograd_with_dropout(compat: str | None) -> None:
    """Theirs draws other dropout masks in the backward: relative error 0.5."""
    config, state = to_huggingface(ours())
    config |= {"hidden_dropout_prob": 0.2, "lsh_attention_probs_dropout_prob": 0.1}
    gradients: list[list[Tensor]] = []
    for keep in (False, True):
        model: Any = from_huggingface(config, state, compat=compat).double().train()
        model.body.stack.keep_activations = keep
        torch.manual_seed(0)
        loss = model(tokens()).logsumexp(-1).square().sum()
        gradients.append(list(torch.autograd.grad(loss, list(model.parameters()))))
    for found, expected in zip(*gradients, strict=True):
        assert (found - expected).norm() < 1e-9 * expected.norm()


def test_layers_learn_where_embeddings_are_frozen() -> None:
    """Theirs get no gradient then."""
    model: Any = from_huggingface(*to_huggingface(ours()), compat="huggingface").train()
    model.body.embedding.requires_grad_(requires_grad=False)
    model(tokens()).logsumexp(-1).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in model.body.stack.parameters())


def test_a_misspelt_compat_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'huggingface'"):
        from_huggingface(*to_huggingface(ours()), compat="hugingface")


def test_a_classifier_that_reads_the_last_token_has_no_counterpart() -> None:
    model = SequenceClassifier(body_of(ours("ReformerModel")), classes=2, at="last")
    with pytest.raises(ValueError, match="at: 'last'"):
        to_huggingface(model)


def test_sizes_that_do_not_fit_are_refused() -> None:
    config, state = to_huggingface(ours())
    with pytest.raises(ValueError, match="axial dims"):
        from_huggingface(config | {"axial_pos_embds_dim": [4, 4]}, state)
    with pytest.raises(ValueError, match="buckets: 7"):
        from_huggingface(config | {"num_buckets": 7}, state)
