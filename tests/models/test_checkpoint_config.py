"""Reading a configuration: what decides is kept, what cannot be is refused at once."""

from types import ModuleType
from typing import Any

import pytest

from models.checkpoint_config import HuggingFaceConfig, parse


def test_defaults_are_those_of_the_original(transformers: ModuleType) -> None:
    assert parse({}) == parse(transformers.ReformerConfig()) == HuggingFaceConfig()


def test_an_object_and_its_mapping_are_read_alike(transformers: ModuleType) -> None:
    config = transformers.ReformerConfig(num_labels=4, num_buckets=[2, 4], attn_layers=["lsh"])
    assert parse(config) == parse(config.to_dict())
    assert parse(config).num_labels == 4
    assert parse(config).num_buckets == (2, 4)


def test_entries_that_decide_nothing_are_passed_over() -> None:
    assert parse({"eos_token_id": 2, "task_specific_params": {}, "x": 1}) == HuggingFaceConfig()


def test_labels_are_counted_by_their_names() -> None:
    assert parse({"id2label": {"0": "a", "1": "b", "2": "c"}}).num_labels == 3


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong: dict[str, Any] = {
        "model_type": "bert",
        "attn_layers": ["lsh", "global"],
        "hidden_act": "swish",
        "tie_word_embeddings": True,
    }
    with pytest.raises(ValueError, match=r"'bert'.*'global'.*'swish'.*tie_word_embeddings"):
        parse(wrong)
