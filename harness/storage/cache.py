"""Tables of runs on the disk, so that a run's shards are read once: derived, delete at will.

    <root>/.cache/<run folder>-<key>.arrow        Arrow's file format: a third of Parquet's time

One file a run that nobody writes any more. The key is a hash of the run's files (path, size,
modification time) and of the code that makes tables of them, so that a stale table is never read;
it is written under another name first and then renamed. Where nothing can be written, nothing is
kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness.storage import archive, arrow, observations

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs] - pandas ships none

FOLDER = ".cache"
Told = Callable[[int, int], None]  # progress: runs done, of how many


def frame(folders: Sequence[Path], told: Told | None = None) -> DataFrame:
    """Return the table of `observations.frame` for runs on the disk, in the order given.

    Raises:
        StoreError: a run's header cannot be read.
    """
    parts: list[arrow.Table] = []
    for done, folder in enumerate(folders):
        if told:
            told(done, len(folders))
        parts.append(part(folder))
    if told:
        told(len(folders), len(folders))
    return arrow.joined(parts or [observations.table(())], observations.KINDS)


def part(folder: Path) -> arrow.Table:
    """Return the table of one run with its notes, from the disk if it is there."""
    path = _path(folder)
    if path is None:
        return _build(folder)
    found = arrow.read(path)
    if found is None:
        found = _build(folder)
        _write(found, path, folder)
    return found


def notes(folder: Path) -> tuple[str, ...]:
    """Return the notes of a run: torn lines and the like."""
    return tuple(json.loads(arrow.notes(part(folder))))


def is_kept(folder: Path) -> bool:
    """Say whether a run's table lies on the disk already."""
    path = _path(folder)
    return path is not None and path.is_file()


def _build(folder: Path) -> arrow.Table:
    run = archive.read(folder)
    return arrow.with_notes(observations.table([run]), json.dumps(run.notes).encode())


def _path(folder: Path) -> Path | None:
    """Return where a run's table lies, or None where it may still grow."""
    if archive.is_live(folder):
        return None
    key = f"{archive.fingerprint(folder)} {_code()}"
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return folder.parent / FOLDER / f"{folder.name}-{digest}.arrow"


@cache
def _code() -> str:
    """Return a fingerprint of the code that a table depends on, which is most of the office."""
    files: Iterable[Path] = Path(__file__).parents[1].glob("*.py")
    sources = [path.read_bytes() for path in sorted((*files, *Path(__file__).parent.glob("*.py")))]
    return hashlib.sha256(b"\0".join(sources)).hexdigest()


def _write(content: arrow.Table, path: Path, folder: Path) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        for old in path.parent.glob(f"{folder.name}-{'?' * 16}.arrow"):
            old.unlink(missing_ok=True)
        arrow.write(content, temporary)
        temporary.replace(path)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)  # of a full disk
