"""One cell in words: title, command that measures it again, configuration, neighbours. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from dashboard import selecting, theme
from dashboard.curves import Row
from harness.store import Result

# Of a command, what chooses cells or names a run: the cell's own id replaces it.
CHOICES = ("--only", "--skip", "--resume", "--dry-run", "--out")
NEAR = ("phase", "entry", "options", *selecting.SETTINGS)


def title(row: Mapping[str, Any]) -> str:
    """Return what a cell is called: `reformer, forward, 8k tokens, float32, cpu: ok`."""
    length = theme.length(row["seq_len"])
    ended = str(row["outcome"]).replace("_", " ")
    return (
        f"{row['contender']}, {row['phase']}, {length} tokens, {row['dtype']}, {row['device']}: "
        f"{ended}"
    )


def rerun(header: Any, cell_id: str) -> str:
    """Return the command that measures a cell again, with the run's own overrides and plugins."""
    return f"{again(header)} --only {shlex.quote(cell_id)}"


def again(header: Any) -> str:
    """Return the command that measures the suite of a run again, whole."""
    kept: list[str] = []
    words = iter(header.command)
    for word in words:
        name, equals, _ = word.partition("=")
        if name not in CHOICES:
            kept.append(word)
        elif not equals and name != "--dry-run":
            next(words, None)  # its value
    if "run" not in kept[:1] or len(kept) < 2:
        kept = ["run", f"suites/{header.suite}.yaml"]
    return shlex.join(["python", "-m", "harness", *kept])


def configuration(row: Row) -> list[dict[str, str]]:
    """Return what the cell is, as its suite said."""
    names = ("entry", "model", "attention", "impl", "options", "phase", "seq_len", "tokens")
    extra = [name for name in (*names, *selecting.SETTINGS) if name in row]
    told = {name: row[name] for name in extra if row[name] is not None}
    found = [{"field": k.replace("_", " "), "value": str(v)} for k, v in told.items()]
    return [{"field": "id", "value": str(row["cell_id"])}, *found]


def neighbours(table: selecting.Table, row: Row) -> list[tuple[str, str]]:
    """Return the next shorter and the next longer cell that differ in length only."""
    same = table
    for name in (name for name in NEAR if name in table.columns):
        column = same[name]
        same = same[column.isna() if row[name] is None else column == row[name]]
    lengths = same.drop_duplicates("cell_id").set_index("seq_len")["cell_id"].to_dict()
    found: list[tuple[str, str]] = []
    shorter = [n for n in lengths if n < row["seq_len"]]
    longer = [n for n in lengths if n > row["seq_len"]]
    if shorter:
        found.append((f"Shorter: {theme.length(max(shorter))}", str(lengths[max(shorter)])))
    if longer:
        found.append((f"Longer: {theme.length(min(longer))}", str(lengths[min(longer)])))
    return found


def launches(result: Result | None, metric: str) -> Sequence[int]:
    """Return how many samples each process took, where several did."""
    if result is None:
        return ()
    source = "latency" if metric == "throughput" else metric
    return next((m.launches for m in result.measurements if m.metric == source), ())


def facts(result: Result) -> list[dict[str, str]]:
    """Return what the worker found out besides its measurements."""
    return [{"fact": key, "value": _text(value)} for key, value in sorted(result.facts.items())]


def record(result: Result) -> dict[str, Any]:
    """Return a result as plain values, samples included."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(result), default=_plain))
    return found


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=_plain, sort_keys=True)
    return text if len(text) <= 2000 else f"{text[:2000]}…"
