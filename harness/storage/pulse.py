"""How a run that is being written stands, read quickly and often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from harness.storage import archive, shards


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What is done, what is under way, and when the writer was last heard of."""

    outcomes: Mapping[str, int]  # cells that ended, by outcome
    current: str | None  # id of the cell under way
    current_since_s: float  # seconds of the epoch; 0 without one
    began_s: float  # when the first shard was made
    written_s: float  # when the last line was written


def read(folder: Path) -> Pulse:
    """Read the state of a run from its shards; what is torn or odd is passed over."""
    ended: dict[str, str] = {}
    current: tuple[str, float] | None = None
    paths = archive.shard_paths(folder)
    for path in paths:
        lines = shards.read(path)
        for record in lines.records:
            cell = str(record.get("cell_id"))
            match record.get("kind"):
                case "cell_start":
                    current = (cell, _seconds(record.get("started_at")))
                case "cell_end" | "cell_abandoned":
                    current = None
                    if record["kind"] == "cell_end":
                        result = cast("Mapping[str, Any]", record.get("result") or {})
                        ended[cell] = str(result.get("outcome", "error"))
                case _:
                    pass
        if not lines.live:
            current = None
    times = [path.stat().st_mtime for path in paths]
    return Pulse(
        outcomes=dict(Counter(ended.values())),
        current=current[0] if current else None,
        current_since_s=current[1] if current else 0.0,
        began_s=min((_born(path) for path in paths), default=0.0),
        written_s=max(times, default=0.0),
    )


def _seconds(text: object) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _born(path: Path) -> float:
    """Return when a shard was made: its name says so in nanoseconds."""
    tail = path.stem.rpartition("-")[2]
    return int(tail) / 1e9 if tail.isdigit() else path.stat().st_mtime
