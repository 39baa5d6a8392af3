"""The options of a contender, shared out between its model and its variant, and checked."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Literal

from models.catalog import unknown


def split(given: Mapping[str, Any], model: type, variant: type) -> tuple[Any, Any]:
    """Return the options of a model and of a variant, each by the fields of its dataclass.

    A name that both have goes to both.

    Args:
        given: names and values as the suite wrote them.
        model: frozen dataclass of the model's options.
        variant: frozen dataclass of the variant's options.

    Returns:
        An instance of each.

    Raises:
        ValueError: a name that neither has, with the nearest; a value of the wrong type; or what
            the dataclasses themselves refuse.
    """
    known = sorted({field.name for kind in (model, variant) for field in fields(kind)})
    for name in given:
        if name not in known:
            raise ValueError(unknown("option", name, known) if known else _none_taken(name))
    return _make(model, given), _make(variant, given)


def _none_taken(name: str) -> str:
    return f"unknown option {name!r}: this model and its attention take none"


def _make(kind: type, given: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    taken = {field.name: field for field in fields(kind) if field.name in given}
    return kind(**{name: _checked(name, given[name], hints[name]) for name in taken})


def _checked(name: str, value: Any, hint: Any) -> Any:
    try:
        return _fit(value, hint)
    except TypeError as error:
        raise ValueError(f"option {name!r}: {value!r} is not {_words(hint)}") from error


def _fit(value: Any, hint: Any) -> Any:
    """Return the value as the hint wants it: lists as tuples, integers as floats.

    Raises:
        TypeError: it does not fit.
    """
    origin = typing.get_origin(hint)
    if origin in {types.UnionType, typing.Union}:
        return _fit_any(value, typing.get_args(hint))
    if origin is Literal:
        fits = value in typing.get_args(hint)
    elif origin is tuple:
        return _fit_items(value, typing.get_args(hint))
    elif origin in {list, Sequence}:
        return _fit_items(value, (*typing.get_args(hint), ...))
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    elif isinstance(value, bool) or hint in {None, type(None)}:
        fits = hint in {bool, Any} if isinstance(value, bool) else value is None
    else:
        fits = not isinstance(hint, type) or isinstance(value, hint)
    if not fits:
        raise TypeError
    return value


def _fit_any(value: Any, hints: tuple[Any, ...]) -> Any:
    for hint in hints:
        try:
            return _fit(value, hint)
        except TypeError:
            continue
    raise TypeError


def _fit_items(value: Any, hints: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError
    if hints[-1] is Ellipsis:
        return tuple(_fit(item, hints[0]) for item in value)
    if len(value) != len(hints):
        raise TypeError
    return tuple(_fit(item, hint) for item, hint in zip(value, hints, strict=True))


def _words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint).replace("typing.", "")
