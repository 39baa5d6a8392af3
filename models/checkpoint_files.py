"""A checkpoint's folder: `config.json`, and weights as safetensors or as PyTorch's own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

CONFIG = "config.json"
SAFETENSORS, PYTORCH = "model.safetensors", "pytorch_model.bin"
INDEX = ".index.json"  # ends the name of the file that says which shard holds which weight


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return configuration and weights, whole or in shards; safetensors before PyTorch's files.

    Code in files is never run: PyTorch's are read for tensors only.

    Raises:
        FileNotFoundError: configuration or weights are not there.
        ImportError: the weights are safetensors, and the package is not installed.
        ValueError: the index names a file that is not in the folder itself.
    """
    if not (folder / CONFIG).is_file():
        raise FileNotFoundError(f"{folder} has no {CONFIG}")
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    for name in (SAFETENSORS, PYTORCH):
        if (folder / name).is_file():
            return config, _read(folder / name)
        if (folder / (name + INDEX)).is_file():
            return config, _read_shards(folder, name + INDEX)
    names = ", ".join([SAFETENSORS, SAFETENSORS + INDEX, PYTORCH, PYTORCH + INDEX])
    raise FileNotFoundError(f"{folder} has no weights; looked for {names}")


def write_folder(
    folder: Path, config: Mapping[str, Any], state: dict[str, Tensor], *, safetensors: bool
) -> None:
    """Write configuration and weights; the folder is made if it is not there.

    Raises:
        ImportError: safetensors are asked for, and the package is not installed.
    """
    tensors = _safetensors() if safetensors else None
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / CONFIG).write_text(text + "\n", encoding="utf-8")
    if tensors is None:
        torch.save(state, folder / PYTORCH)
    else:
        tensors.save_file(state, folder / SAFETENSORS, metadata={"format": "pt"})


def _read(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return _safetensors().load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


def _read_shards(folder: Path, index: str) -> dict[str, Tensor]:
    places: dict[str, str] = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"]
    state: dict[str, Tensor] = {}
    for name in sorted(set(places.values())):
        if Path(name).name != name:
            raise ValueError(f"{index} names {name!r}; shards lie in the folder of the index")
        state |= _read(folder / name)
    return state


def _safetensors() -> ModuleType:
    try:
        import safetensors.torch  # noqa: PLC0415 - optional: only who reads such files needs it
    except ImportError as error:
        raise ImportError(
            "safetensors files need the package safetensors: install attention-harness[checkpoints]"
        ) from error
    return safetensors.torch
