"""The one door to results: write runs, find them, read them, tabulate them.

    from harness import store

    for run in store.runs():
        print(run.run_id, run.state)
    table = store.frame("latest")

The files behind it are described in `results/README.md`.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from harness.schema import Environment, Result, Run
from harness.storage import archive, cache, observations, outlines
from harness.storage import pulse as pulses
from harness.storage import runs as listing
from harness.storage.archive import find, fingerprint, finished
from harness.storage.cache import Told
from harness.storage.journal import Writer
from harness.storage.outlines import Outline
from harness.storage.pulse import Pulse
from harness.storage.runs import RunSummary
from harness.storage.shards import StoreError

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs] - pandas ships none

__all__ = [
    "RESULTS",
    "Environment",
    "Outline",
    "Pulse",
    "Result",
    "RunSummary",
    "StoreError",
    "Told",
    "Writer",
    "artifacts",
    "environments",
    "find",
    "fingerprint",
    "finished",
    "frame",
    "is_kept",
    "keep",
    "new_run_id",
    "notes",
    "open",
    "outline",
    "pulse",
    "resolve",
    "result",
    "runs",
]

RESULTS = Path("results")  # relative to the working directory


def runs(root: Path = RESULTS) -> list[RunSummary]:
    """Return every run below a folder, newest first; a broken one is listed with its problem."""
    return listing.runs(root)


def resolve(name: str | Path, root: Path = RESULTS) -> Path:
    """Return the folder of a run: `latest`, a run id, a unique beginning of one, or a path.

    Raises:
        StoreError: no run or several have this name; the message gives the nearest match.
    """
    return listing.resolve(name, root)


def open(run: str | Path, root: Path = RESULTS) -> Run:  # noqa: A001 - `store.open(run)`
    """Read a run: header, the last attempt of each cell in planned order, environments, notes.

    Raises:
        StoreError: no run has this name, or its header cannot be read.
    """
    return archive.read(resolve(run, root))


def frame(*runs: Run | str | Path, root: Path = RESULTS, told: Told | None = None) -> DataFrame:
    """Return runs as one table: a row for each metric of each cell, in SI units.

    See `harness.storage.observations` for the columns. Tables of finished runs are kept below
    `<root>/.cache`, so that their shards are read once.

    Args:
        runs: names, folders or runs that are open.
        root: where names are looked up.
        told: called with the number of runs read and the number of runs, for a progress bar.

    Raises:
        StoreError: no run has one of these names, or its header cannot be read.
    """
    if any(isinstance(run, Run) for run in runs):
        return observations.frame(run if isinstance(run, Run) else open(run, root) for run in runs)
    return cache.frame([resolve(run, root) for run in runs if not isinstance(run, Run)], told)


def outline(run: str | Path, root: Path = RESULTS) -> Outline:
    """Return what a run was asked and how it stands, without its cells.

    Raises:
        StoreError: no run has this name, or its header cannot be read.
    """
    return outlines.read(resolve(run, root))


def notes(folder: Path) -> tuple[str, ...]:
    """Return what a reader of a run should know: torn lines, changed files."""
    return cache.notes(folder)


def environments(folder: Path) -> dict[str, Environment]:
    """Return the environments of a run by id; those that cannot be read are left out."""
    return archive.environments(folder)[0]


def result(folder: Path, cell_id: str) -> Result | None:
    """Return what came of one cell, without reading the others; None where nothing did yet."""
    return archive.read_result(folder, cell_id)


def pulse(folder: Path) -> Pulse:
    """Return how a run that is being written stands."""
    return pulses.read(folder)


def keep(folder: Path) -> None:
    """Make the table of a run, if it may be kept and is not yet, so that `frame` has it."""
    cache.part(folder)


def is_kept(folder: Path) -> bool:
    """Say whether `frame` has the table of this run at hand."""
    return cache.is_kept(folder)


def artifacts(folder: Path, cell_id: str) -> list[Path]:
    """Return the files that a cell's worker left beside its answer: traces, logs, snapshots."""
    return sorted(path for path in (folder / "artifacts" / cell_id).rglob("*") if path.is_file())


def new_run_id(suite: str, now: datetime, seed: object) -> str:
    """Return a run id that sorts by time: 20261123T091011Z-long_seq-3f9a.

    The last part is a hash of the seed, so that two runs of one second differ.
    """
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", suite)
    tail = hashlib.sha256(repr(seed).encode()).hexdigest()[:4]
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{name}-{tail}"
