"""Files that a user gives by `data.path`: refused unless they are what they claim."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path


def require(path: str | None, task: str, name: str, advice: str) -> Path:
    """Return the file that a task needs.

    Raises:
        ValueError: none is given, or there is no such file.
    """
    if path is None:
        raise ValueError(f"{task}: give {name} as data.path; {advice}")
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{task}: data.path {file.name}: no such file; it is {name}")
    return file


@functools.cache
def check(file: Path, name: str, algorithm: str, digest: str, size: int | None = None) -> None:
    """Refuse a file whose size or digest is not that of a known one.

    Raises:
        ValueError: it is another.
    """
    actual = file.stat().st_size if file.is_file() else 0
    if size is not None and actual != size:
        raise ValueError(f"data.path {file.name}: {actual:,} bytes; {name} has {size:,}")
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False))
    if found.hexdigest() != digest:
        raise ValueError(
            f"data.path {file.name}: {algorithm} {found.hexdigest()}; that of {name} is {digest}"
        )
