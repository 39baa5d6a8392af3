"""Folders of checkpoints: whole and in shards, safetensors and PyTorch's own."""

import builtins
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.checkpoint_files import PYTORCH, SAFETENSORS, read_folder, write_folder

CONFIG = {"model_type": "reformer", "num_buckets": [2, 4]}


def state() -> dict[str, Tensor]:
    return {"a.weight": torch.randn(3, 2), "b.bias": torch.zeros(4, dtype=torch.bfloat16)}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize("safetensors", [True, False])
def test_what_is_written_is_read(tmp_path: Path, safetensors: bool) -> None:
    written = state()
    write_folder(tmp_path / "new" / "folder", CONFIG, written, safetensors=safetensors)
    config, found = read_folder(tmp_path / "new" / "folder")
    assert config == CONFIG
    assert equal(found, written)
    file = SAFETENSORS if safetensors else PYTORCH
    assert {f.name for f in (tmp_path / "new" / "folder").iterdir()} == {"config.json", file}


@pytest.mark.parametrize("name", [SAFETENSORS, PYTORCH])
def test_shards_are_read_by_their_index(tmp_path: Path, name: str) -> None:
    written, places = state(), {}
    for number, (key, value) in enumerate(written.items()):
        places[key] = name.replace(".", f"-{number}.")
        save = save_file if name == SAFETENSORS else torch.save
        save({key: value}, tmp_path / places[key])
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / f"{name}.index.json").write_text(json.dumps({"weight_map": places}))
    assert equal(read_folder(tmp_path)[1], written)


def test_an_index_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    index = {"weight_map": {"a": "../other.bin"}}
    (tmp_path / f"{PYTORCH}.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match=r"other\.bin"):
        read_folder(tmp_path)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    torch.save({"a": Path("x")}, tmp_path / PYTORCH)
    with pytest.raises(pickle.UnpicklingError, match="Weights only"):
        read_folder(tmp_path)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        read_folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"{SAFETENSORS}.*{PYTORCH}"):
        read_folder(tmp_path)


def test_without_safetensors_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(tmp_path, CONFIG, state(), safetensors=True)
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("safetensors"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    for call in (
        lambda: read_folder(tmp_path),
        lambda: write_folder(tmp_path / "b", CONFIG, state(), safetensors=True),
    ):
        with pytest.raises(ImportError, match=r"install attention-harness\[checkpoints\]"):
            call()
    assert not (tmp_path / "b").exists()
