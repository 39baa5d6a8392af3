"""Append-only JSON lines: one shard a writer, read whole or torn.

A shard belongs to one writer for ever: nobody appends to it later, because a line glued to a torn
one loses both. Each record is one `os.write` of one line, so a reader sees every acknowledged
record whole and at most one torn line, the last. No lock is needed, on any number of machines.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from harness.codec import canonical
from harness.schema import SCHEMA_VERSION

CLOCK_SLACK_S = 2.0  # the kernel's boot time, and so a process's create time, moves with the clock
LAST = 256  # bytes at the end of a shard that hold `closed`, if it is the last line
Record = Mapping[str, Any]


class StoreError(ValueError):
    """Results that are not there, cannot be read, or must not be written; says what to do."""


class Shard:
    """The one writer of a new shard; its first line names the process behind it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{host()}-{os.getpid()}-{time.time_ns()}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._file = os.open(self.path, flags, 0o644)
        self._length = 0
        created = psutil.Process().create_time()
        writer = {"host": host(), "pid": os.getpid(), "process_created_s": created}
        self.append({"kind": "writer", "schema_version": SCHEMA_VERSION, **writer}, sync=True)
        sync_folder(folder)

    def append(self, record: Record, *, sync: bool = False) -> None:
        """Write one line; with `sync` it is on the disk when this returns.

        Raises:
            StoreError: a value is not JSON, such as NaN; nothing was written.
            OSError: the line could not be written whole; what was written of it is cut off.
        """
        try:
            line = canonical(record).encode() + b"\n"
        except (TypeError, ValueError) as error:
            name = f"{record['kind']} of {record.get('cell_id', 'the run')}"
            raise StoreError(f"{name}: {error}; store None for what is not known") from error
        if os.write(self._file, line) != len(line):
            os.ftruncate(self._file, self._length)
            raise OSError(f"{self.path.name}: the line was cut short; is the disk full?")
        self._length += len(line)
        if sync:
            getattr(os, "fdatasync", os.fsync)(self._file)

    def close(self) -> None:
        """Say that no more lines follow, while the process may live on."""
        if self._file >= 0:
            self.append({"kind": "closed"}, sync=True)
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Take back a shard that must not be."""
        os.close(self._file)
        self._file = -1
        self.path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """What a shard holds."""

    records: tuple[Record, ...]
    live: bool  # its writer may still append
    notes: tuple[str, ...]  # torn and unreadable lines, in words


def read(path: Path, having: bytes = b"") -> Lines:
    """Read the complete lines of a shard that have a text; the rest becomes notes."""
    with path.open("rb") as file:
        first = file.readline()
        alive = is_alive(_record(first) or {})  # before the rest: what it wrote last is in there
        *lines, torn = (first + file.read()).split(b"\n")
    records: list[Record] = []
    notes: list[str] = []
    for number, line in enumerate(lines, start=1):
        if having not in line and number < len(lines):
            continue
        record = _record(line)
        if record is None:
            notes.append(f"{path.name}: line {number} is not a record and was left out")
        else:
            records.append(record)
    live = alive and bool(records) and records[-1].get("kind") != "closed"
    if torn and not live:  # a live writer is in the middle of it
        notes.append(f"{path.name}: the last line is torn ({len(torn)} bytes) and was left out")
    return Lines(records=tuple(records), live=live, notes=tuple(notes))


def is_live(path: Path) -> bool:
    """Say whether a shard's writer may still append, by its first line and its last."""
    with path.open("rb") as file:
        first = file.readline()
        if not is_alive(_record(first) or {}):
            return False
        file.seek(max(0, path.stat().st_size - LAST))
        complete = file.read().rpartition(b"\n")[0]
    last = _record(complete.rpartition(b"\n")[2]) or {}
    return last.get("kind") != "closed"


def is_alive(writer: Record) -> bool:
    """Say whether the process that a first line names still runs here.

    A process of another host counts as gone: results that were copied from there are over.
    """
    if writer.get("kind") != "writer" or writer.get("host") != host():
        return False
    try:
        process = psutil.Process(writer["pid"])
        age = abs(process.create_time() - writer["process_created_s"])
        return age < CLOCK_SLACK_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def host() -> str:
    """Return a short hash of the host name, which may be private."""
    return hashlib.sha256(f"host {socket.gethostname()}".encode()).hexdigest()[:8]


def write_json(path: Path, value: Record) -> None:
    """Write a file whole or not at all: temporary file, fsync, rename.

    Raises:
        StoreError: a value is not JSON, such as NaN; nothing was written.
    """
    try:
        text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise StoreError(f"{path.name}: {error}") from error
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names of new files survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _record(line: bytes) -> Record | None:
    try:
        value: object = json.loads(line)
    except ValueError:
        return None
    return typing.cast("Record", value) if isinstance(value, dict) else None
