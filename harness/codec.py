"""Records to JSON and back, for files and for the hatch to a worker; standard library only."""

from __future__ import annotations

import functools
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, TypeVar

T = TypeVar("T")
PLAIN = frozenset({str, int, float, bool, type(None)})  # most values: asked first


def canonical(value: Any) -> str:
    """Return the one JSON text of a value: sorted keys, no blanks, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def encode(value: Any) -> Any:
    """Turn a record into what `json.dumps` takes."""
    if type(value) in PLAIN:
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {name: encode(getattr(value, name)) for name in _names(type(value))}
    if isinstance(value, Mapping):
        items = typing.cast("Mapping[Any, Any]", value).items()
        return {str(key): encode(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [encode(item) for item in typing.cast("list[Any]", value)]
    return value


@functools.cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(f.name for f in fields(kind))


def decode(kind: type[T], data: Mapping[str, Any]) -> T:
    """Build a record from `encode`'s output; keys of a newer version are ignored.

    Raises:
        ValueError: a key without default is missing.
    """
    readers = _readers(kind)
    given = {key: _read(readers[key], item) for key, item in data.items() if key in readers}
    try:
        return kind(**given)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from error


Reader = Callable[[Any], Any]


@functools.cache
def _readers(kind: type) -> dict[str, Reader | None]:
    """Return, by field, what builds its value; None where JSON has it already."""
    # Once a kind: evaluating annotations and asking what they are takes longer than all the rest.
    hints = typing.get_type_hints(kind)
    return {f.name: _reader(hints[f.name]) for f in fields(kind)}


def _reader(hint: Any) -> Reader | None:
    if isinstance(hint, types.UnionType):
        (hint,) = (option for option in typing.get_args(hint) if option is not type(None))
        inner = _reader(hint)
        return inner and (lambda value: None if value is None else inner(value))
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        inner = _reader(arguments[0])
        return (lambda value: tuple(map(inner, value))) if inner else tuple
    if origin is Mapping and is_dataclass(arguments[1]):
        return lambda value: {key: decode(arguments[1], item) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if isinstance(hint, type) and is_dataclass(hint):
        return functools.partial(decode, hint)
    return None


def _read(reader: Reader | None, value: Any) -> Any:
    return value if reader is None else reader(value)
