"""Reads a run back from its folder, whole, torn or still growing."""

from __future__ import annotations

import difflib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.codec import decode
from harness.schema import SCHEMA_VERSION, Cell, Environment, Outcome, Result, Run, RunHeader
from harness.storage import shards
from harness.storage.shards import StoreError

HEADER = "run.json"
SHARDS = "shards"
DIED = "its process died without an answer"
INFERRED = "inferred"  # fact of a result that nobody recorded


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at a cell, as a shard tells it."""

    cell: Cell
    number: int
    result: Result | None  # None: started, no answer yet
    live: bool  # its writer may still answer


def read(folder: Path) -> Run:
    """Read a run: the last attempt of each cell, in planned order.

    A start without an end whose writer is gone is a crash, unless a later attempt replaced it;
    if the writer lives, the cell is not there yet.

    Raises:
        StoreError: the folder holds no readable header.
    """
    header, _ = read_header(folder)
    found, notes = environments(folder)
    if header.schema_version > SCHEMA_VERSION:
        version = f"schema version {header.schema_version}, newer than {SCHEMA_VERSION}"
        notes.append(f"{HEADER}: written by {version}; what is new in it is left out")
    attempts: list[Attempt] = []
    for path in shard_paths(folder):
        lines = shards.read(path)
        notes.extend(lines.notes)
        attempts.extend(_attempts(lines, path.name, notes))
    results = {cell_id: _result(tries) for cell_id, tries in _by_cell(attempts).items()}
    planned = [cell.id for cell in header.cells]
    order = list(dict.fromkeys([*planned, *results]))
    return Run(
        header=header,
        results=tuple(r for cell_id in order if (r := results.get(cell_id)) is not None),
        environments=found,
        notes=tuple(notes),
    )


def read_header(folder: Path) -> tuple[RunHeader, Mapping[str, Any]]:
    """Return what was asked and how the run stands: state, ended_at, outcomes.

    Raises:
        StoreError: there is no header, or it cannot be read.
    """
    path = folder / HEADER
    try:
        data: Any = json.loads(path.read_bytes())
        return decode(RunHeader, data["header"]), data
    except FileNotFoundError as error:
        raise StoreError(no_header(folder)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(bad_header(folder, error)) from error


def no_header(folder: Path) -> str:
    """Say that a folder is no run."""
    return f"{folder.name}: no {HEADER}; not a run, or it ended before it"


def bad_header(folder: Path, error: Exception) -> str:
    """Say why a header cannot be read."""
    return f"{folder.name}: {HEADER} cannot be read: {error}"


def read_result(folder: Path, cell_id: str) -> Result | None:
    """Read the last answer to one cell without reading the others; None where there is none."""
    attempts: list[Attempt] = []
    for path in shard_paths(folder):
        lines = shards.read(path, having=cell_id.encode())
        attempts.extend(a for a in _attempts(lines, path.name, []) if a.cell.id == cell_id)
    return _result(attempts) if attempts else None


def finished(run: Run) -> set[str]:
    """Return the ids of cells that somebody recorded the end of, whatever the outcome."""
    return {result.cell.id for result in run.results if INFERRED not in result.facts}


def find(run: Run, name: str) -> Result:
    """Return the result of a cell by its id or a unique beginning of it.

    Raises:
        StoreError: no cell or several have this name; the message gives the nearest match.
    """
    ids = [result.cell.id for result in run.results]
    matches = [name] if name in ids else [i for i in ids if name and i.startswith(name)]
    if len(matches) == 1:
        return run.by_cell[matches[0]]
    if matches:
        raise StoreError(f"cell {name!r} is one of {len(matches)}: {', '.join(matches)}")
    near = difflib.get_close_matches(name, ids, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r};" if near else ";"
    raise StoreError(f"no cell {name!r} in {run.header.run_id}{hint} cells: {', '.join(ids)}")


def fingerprint(folder: Path) -> str:
    """Return a text that changes whenever `read` may give another answer, for caches."""
    files = [folder / HEADER, *sorted(folder.glob("environment-*.json")), *shard_paths(folder)]
    stats = [(path.name, stat.st_size, stat.st_mtime_ns) for path in files if (stat := path.stat())]
    return repr((str(folder.resolve()), stats, is_live(folder)))


def count_outcomes(run: Run) -> dict[str, int]:
    """Return how many cells ended how."""
    return dict(Counter(str(result.outcome) for result in run.results))


def is_live(folder: Path) -> bool:
    """Say whether a writer of this run may still append."""
    return any(shards.is_live(path) for path in shard_paths(folder))


def shard_paths(folder: Path) -> list[Path]:
    """Return the shards of a run, oldest first."""
    return sorted((folder / SHARDS).glob("*.jsonl"), key=lambda p: (p.stem.split("-")[-1], p.name))


def _attempts(lines: shards.Lines, name: str, notes: list[str]) -> Iterable[Attempt]:
    """Follow the starts, ends and abandonments of one shard; unknown kinds are left out."""
    started: dict[str, Attempt] = {}
    for record in lines.records:
        cell_id = str(record.get("cell_id"))
        try:
            match record.get("kind"):
                case "cell_start":
                    cell = decode(Cell, record["cell"])
                    started[cell_id] = Attempt(cell, record["attempt"], None, lines.live)
                case "cell_end":
                    result = decode(Result, record["result"])
                    started.pop(cell_id, None)
                    yield Attempt(result.cell, result.attempt, result, lines.live)
                case "cell_abandoned":
                    started.pop(cell_id, None)
                case _:
                    pass
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            notes.append(f"{name}: {record.get('kind')} of {cell_id} cannot be read: {error}")
    yield from started.values()


def _by_cell(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    groups: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        groups.setdefault(attempt.cell.id, []).append(attempt)
    return groups


def _result(attempts: list[Attempt]) -> Result | None:
    """Return what counts of all attempts at one cell: its last answer, or the crash after it."""
    last = max(enumerate(attempts), key=lambda each: (each[1].number, each[0]))[1]
    if last.result is not None:
        return last.result
    if not last.live:
        return Result(
            cell=last.cell,
            outcome=Outcome.CRASHED,
            reason=DIED,
            attempt=last.number,
            facts={INFERRED: "started, never ended, and the writer is gone"},
        )
    answered = [attempt for attempt in attempts if attempt.result is not None]
    return max(answered, key=lambda attempt: attempt.number).result if answered else None


def environments(folder: Path) -> tuple[dict[str, Environment], list[str]]:
    """Return the environments of a run by id, and what is wrong with their files."""
    found: dict[str, Environment] = {}
    notes: list[str] = []
    for path in sorted(folder.glob("environment-*.json")):
        try:
            environment = decode(Environment, json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            notes.append(f"{path.name} cannot be read: {error}")
            continue
        name = path.stem.removeprefix("environment-")
        found[name] = environment
        if environment.id != name:
            notes.append(f"{path.name} was changed: its content is {environment.id}")
    return found, notes
