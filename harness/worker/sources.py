"""Fingerprints of the code that is measured, so that a result says which code it belongs to."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

import models

DIGITS = 16  # hexadecimal, of SHA-256


def of_file(file: Path) -> str:
    """Return the fingerprint of one file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


@functools.cache
def of_models(folder: Path = Path(models.__file__).parent) -> str:
    """Return the fingerprint of all our models and kernels; read once per process."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*.py")):
        digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:DIGITS]
