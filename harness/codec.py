"""Records to JSON and back, for files and for the hatch to a worker; standard library only."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode(value: Any) -> Any:
    """Turn a record into what `json.dumps` takes."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: encode(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        items = typing.cast("Mapping[Any, Any]", value).items()
        return {str(key): encode(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [encode(item) for item in typing.cast("list[Any]", value)]
    return value


def decode(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build a record from `encode`'s output; keys of a newer version are ignored.

    Raises:
        ValueError: a key without default is missing.
    """
    hints = _hints(kind)
    names = {f.name for f in fields(typing.cast("Any", kind))}
    given = {key: _decode(hints[key], item) for key, item in data.items() if key in names}
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)  # slow: it evaluates every annotation anew


def _decode(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        if value is None:
            return None
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return tuple(_decode(arguments[0], item) for item in value)
    if origin is Mapping and is_dataclass(arguments[1]):
        return {key: _decode(arguments[1], item) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint(value)
    if isinstance(hint, type) and is_dataclass(hint):
        return decode(hint, value)
    return value
