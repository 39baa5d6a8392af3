"""The state of a training on disk, so that one that was killed goes on where it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One file, written whole or not at all.

    `fingerprint` says which training it belongs to; a file of another one is not read.
    """

    path: Path | None  # None: nothing is kept
    fingerprint: str

    def save(self, state: Mapping[str, Any]) -> None:
        """Write a state: tensors, numbers, texts, and lists and dictionaries of these."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            torch.save({"fingerprint": self.fingerprint, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path)

    def load(self) -> dict[str, Any] | None:
        """Return the last state, or None if there is none of this training."""
        if self.path is None or not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, EOFError):
            return None  # torn or of another torch: training begins anew
        return state if state.get("fingerprint") == self.fingerprint else None
