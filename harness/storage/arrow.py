"""The table of runs in memory and on the disk: Arrow, as pandas it shares its buffers.

pyarrow and pandas are loaded where they are used, as `list`, `show` and `run` need not wait 0.5 s
for them, and as modules without types, as neither ships any.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs] - pandas ships none

Table = Any  # of pyarrow
Kinds = Mapping[str, str]  # column -> category, int64, Int64, float64, bool, samples


def table(rows: Sequence[Mapping[str, Any]], kinds: Kinds) -> Table:
    """Return rows as a table with exactly these columns; what a row lacks is null."""
    pa = _pyarrow()
    types = {
        "category": pa.dictionary(pa.int32(), pa.string()),
        "int64": pa.int64(),
        "Int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "object": pa.list_(pa.float64()),
    }
    columns = [pa.array([row.get(k) for row in rows], type=types[v]) for k, v in kinds.items()]
    return pa.table(columns, names=list(kinds))


def joined(tables: Sequence[Table], kinds: Kinds) -> DataFrame:
    """Return tables, one at least, as one of pandas; categories are those of all of them."""
    pandas: Any = importlib.import_module("pandas")
    whole = _pyarrow().concat_tables(tables).unify_dictionaries().combine_chunks()
    columns: dict[str, Any] = {}
    for name, kind in kinds.items():
        column = whole.column(name)
        chunk = column.chunk(0) if column.num_chunks else column.combine_chunks()
        if kind == "object":
            columns[name] = _slices(chunk)
        elif kind == "category":
            codes, names = chunk.indices.fill_null(-1).to_numpy(), chunk.dictionary.to_pylist()
            columns[name] = pandas.Categorical.from_codes(codes, names)
        elif kind == "Int64":
            missing = chunk.is_null().to_numpy(zero_copy_only=False)
            values = chunk.fill_null(0).to_numpy().copy()
            columns[name] = pandas.arrays.IntegerArray(values, missing)
        else:
            columns[name] = chunk.to_numpy(zero_copy_only=False).astype(kind)
    return pandas.DataFrame(columns, copy=False)


def read(path: Path) -> Table | None:
    """Read a table; None where there is none, or where it was cut short."""
    pa = _pyarrow()
    try:
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file).read_all()
    except (OSError, pa.ArrowException):
        return None


def write(content: Table, path: Path) -> None:
    """Write a table to a file.

    Raises:
        OSError: the file cannot be written.
    """
    pa = _pyarrow()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, content.schema, options=options) as writer,
    ):
        writer.write_table(content)


def with_notes(content: Table, notes: bytes) -> Table:
    """Return a table with notes as its metadata."""
    return content.replace_schema_metadata({b"notes": notes})


def notes(content: Table) -> bytes:
    """Return the notes of a table."""
    return content.schema.metadata[b"notes"]


def _pyarrow() -> Any:
    return importlib.import_module("pyarrow")


def _slices(lists: Any) -> Any:
    """Return an array of arrays that share one buffer."""
    values = lists.values.to_numpy()
    ends = lists.offsets.to_numpy().tolist()
    return np.fromiter((values[a:b] for a, b in pairwise(ends)), dtype=object, count=len(lists))
