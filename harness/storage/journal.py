"""Writes a run while it happens, so that nothing acknowledged is ever lost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.codec import encode
from harness.schema import Cell, Environment, Result, RunHeader
from harness.storage import archive, shards
from harness.storage.shards import Shard, StoreError

STATES = ("finished", "interrupted")


class Writer:
    """Records one run: one writer a process and run, in a shard of its own.

    `create` begins a run and `resume` goes on with one. Leaving the `with` block closes the shard;
    a run that was not declared finished by then is interrupted.
    """

    def __init__(self, folder: Path) -> None:
        """Open a new shard; `create` and `resume` call this."""
        self.folder = folder
        self._shard = Shard(folder / archive.SHARDS)
        self._open = True

    @classmethod
    def create(cls, root: Path, header: RunHeader) -> Self:
        """Begin a run: make its folder and write its header.

        Raises:
            StoreError: the folder exists, or the header is not JSON.
        """
        folder = root / header.run_id
        root.mkdir(parents=True, exist_ok=True)
        try:
            folder.mkdir()
        except FileExistsError as error:
            raise StoreError(f"run {header.run_id!r} exists; resume it or take a new id") from error
        try:
            _write_state(folder, {"header": encode(header)}, "running", None)
        except StoreError:
            folder.rmdir()
            raise
        shards.sync_folder(root)
        return cls(folder)

    @classmethod
    def resume(cls, folder: Path) -> Self:
        """Go on with a run in a new shard.

        The shard comes first and the question second, so of two that ask at once none gets by.

        Raises:
            StoreError: it is not a run, or another writer of it is alive.
        """
        _, head = archive.read_header(folder)
        writer = cls(folder)
        others = [path for path in archive.shard_paths(folder) if path != writer._shard.path]
        busy = [path.name for path in others if shards.read(path).live]
        if busy:
            writer._shard.remove()
            pid = busy[0].split("-")[1]
            raise StoreError(f"run {folder.name!r} is being written by process {pid}; wait for it")
        _write_state(folder, head, "running", None)
        return writer

    def environment(self, environment: Environment) -> None:
        """Store an environment under its content address, once."""
        path = self.folder / f"environment-{environment.id}.json"
        if not path.exists():
            shards.write_json(path, encode(environment))

    def start(self, cell: Cell, attempt: int) -> None:
        """Record that a cell begins; if no end follows, its process died."""
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        record = {"kind": "cell_start", "cell_id": cell.id, "attempt": attempt, "started_at": now}
        self._shard.append(record | {"cell": encode(cell)})

    def end(self, result: Result) -> None:
        """Record what came of a cell; when this returns, it is on the disk.

        Raises:
            StoreError: the result holds what JSON cannot, such as NaN; nothing was written.
        """
        record = {"kind": "cell_end", "cell_id": result.cell.id, "result": encode(result)}
        self._shard.append(record, sync=True)

    def abandon(self, cell: Cell, reason: str) -> None:
        """Record that a cell that began was given up, so it counts as never begun."""
        record = {"kind": "cell_abandoned", "cell_id": cell.id, "reason": reason}
        self._shard.append(record, sync=True)

    def artifacts(self, cell: Cell) -> Path:
        """Return the folder for what a cell leaves beside its numbers, made on demand."""
        folder = self.folder / "artifacts" / cell.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def finish(self, state: str) -> None:
        """Close the shard and write how the run stands: finished or interrupted.

        Raises:
            StoreError: there is no such state.
        """
        if state not in STATES:
            raise StoreError(f"unknown state {state!r}; known: {', '.join(STATES)}")
        self._shard.close()
        _, head = archive.read_header(self.folder)
        outcomes = archive.count_outcomes(archive.read(self.folder))
        _write_state(self.folder, head, state, outcomes)
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._open:
            self.finish("interrupted")


def _write_state(
    folder: Path, head: Mapping[str, Any], state: str, outcomes: Mapping[str, int] | None
) -> None:
    """Write the header anew with how the run stands; keys of a newer version stay."""
    ended_at = None if outcomes is None else datetime.now(UTC).isoformat(timespec="seconds")
    end = {"state": state, "ended_at": ended_at, "outcomes": outcomes}
    shards.write_json(folder / archive.HEADER, {**head, **end})
