"""The runs below a folder: which there are, how they stand, which one a name means."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from harness.storage import archive, cache, outlines, shards
from harness.storage.shards import StoreError

INDEX = "runs.json"  # in the folder of caches
Kept = dict[str, dict[str, Any]]  # by folder: key and summary
NOT_RUNS = frozenset({"baselines"})  # folders beside the runs that hold something else


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One line about a run; a broken folder has a problem instead of numbers."""

    run_id: str
    path: Path
    suite: str = ""
    created_at: str = ""  # ISO 8601, UTC
    state: str = "broken"  # running, finished, interrupted, broken
    planned: int = 0  # cells
    outcomes: Mapping[str, int] = field(default_factory=dict[str, int])  # cells by outcome
    problem: str | None = None


def runs(root: Path) -> list[RunSummary]:
    """Return every run below a folder, newest first, broken ones last.

    Summaries of finished runs are kept in `<root>/.cache/runs.json` by the size and the time of
    their headers, as a header lists every cell.
    """
    if not root.is_dir():
        return []
    folders = [f for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")]
    kept = _kept(root)
    fresh: Kept = {}
    found: list[RunSummary] = []
    for folder in (folder for folder in folders if folder.name not in NOT_RUNS):
        key = _key(folder)
        known = kept.get(folder.name, {})
        if key is not None and known.get("key") == key:
            run = RunSummary(**cast("dict[str, Any]", {**known["run"], "path": folder}))
        else:
            run = summary(folder)
        found.append(run)
        if key is not None and run.state == "finished":
            fresh[folder.name] = {"key": key, "run": {**asdict(run), "path": ""}}
    if fresh != kept:
        _keep(root, fresh)
    return sorted(found, key=lambda run: (run.created_at, run.run_id), reverse=True)


def _key(folder: Path) -> list[int] | None:
    """Return what changes with a header; None where there is none."""
    try:
        stat = (folder / archive.HEADER).stat()
    except OSError:
        return None
    return [stat.st_size, stat.st_mtime_ns]


def _kept(root: Path) -> Kept:
    try:
        found: Any = json.loads((root / cache.FOLDER / INDEX).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    names = {f.name for f in fields(RunSummary)}
    told = cast("dict[str, Any]", found).items()
    return {name: each for name, each in told if _is_whole(each, names)}


def _is_whole(each: Any, names: set[str]) -> bool:
    """Say whether a kept summary is one of this version."""
    try:
        return set(each["run"]) == names and len(each["key"]) == 2
    except (TypeError, LookupError):
        return False


def _keep(root: Path, found: Kept) -> None:
    with suppress(OSError):
        (root / cache.FOLDER).mkdir(exist_ok=True)
        shards.write_json(root / cache.FOLDER / INDEX, found)


def summary(folder: Path) -> RunSummary:
    """Return one line about a run; what cannot be read becomes its problem."""
    try:
        outline = outlines.read(folder)
        outcomes = outline.outcomes
        if not outcomes and outline.planned:  # it ended without a word, or goes on
            outcomes = archive.count_outcomes(archive.read(folder))
    except StoreError as error:
        return RunSummary(run_id=folder.name, path=folder, problem=str(error))
    return RunSummary(
        run_id=outline.header.run_id,
        path=folder,
        suite=outline.header.suite,
        created_at=outline.header.created_at,
        state=outline.state,
        planned=outline.planned,
        outcomes=outcomes,
    )


def resolve(name: str | Path, root: Path) -> Path:
    """Return the folder of a run: `latest`, a run id, a unique beginning of one, or a path.

    Raises:
        StoreError: no run or several have this name; the message gives the nearest match.
    """
    if (Path(root, name) / archive.HEADER).is_file():
        return Path(root, name)
    if (Path(name) / archive.HEADER).is_file():
        return Path(name)
    known = [run for run in runs(root) if run.problem is None]
    if str(name) == "latest" and known:
        return known[0].path
    matches = [run for run in known if str(name) and run.path.name.startswith(str(name))]
    if len(matches) == 1:
        return matches[0].path
    ids = [run.path.name for run in matches or known]
    if matches:
        raise StoreError(f"run {str(name)!r} is one of {len(ids)}: {', '.join(ids)}")
    if not known:
        raise StoreError(f"no run {str(name)!r}: there are no runs in {root}")
    raise StoreError(f"no run {str(name)!r}{_nearest(str(name), known)} runs: {', '.join(ids)}")


def _nearest(name: str, known: list[RunSummary]) -> str:
    """Return `; did you mean ...;` by run id or suite, or `;`."""
    words = {run.path.name: run.path.name for run in known}
    words |= {run.suite: run.path.name for run in reversed(known)}
    near = difflib.get_close_matches(name, words, n=1, cutoff=0.5)
    return f"; did you mean {words[near[0]]!r};" if near else ";"
