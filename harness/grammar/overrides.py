"""`--set path=value`: changes to a suite's values before they are checked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any, cast

from harness.grammar import document

_PATH = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[\d{1,6}\])*")
_STEP = re.compile(r"[^.\[\]]+")
_TWINS = {"axes": "fixed", "fixed": "axes"}


def apply(tree: Any, overrides: Sequence[str]) -> list[str]:
    """Change a document in place and return what is wrong with the overrides.

    A path is `fixed.batch`, `contenders[0].impl` or, by id, `contenders.reformer.options.hashes`;
    a value is YAML. Fixing an axis takes it off the axes and the reverse, since a field cannot be
    both. A path to a key that a suite does not have is found when the suite is checked.
    """
    problems: list[str] = []
    for override in overrides:
        problem = _apply_one(tree, override)
        if problem:
            problems.append(f"--set {override}: {problem}")
    return problems


def _apply_one(tree: Any, override: str) -> str | None:
    path, equals, text = override.partition("=")
    if not equals or not _PATH.fullmatch(path):
        return "expected path=value, such as fixed.batch=4 or contenders[0].impl=eager"
    try:
        value = document.parse(text, "the value")
    except document.SuiteError as error:
        return str(error)
    keys = _steps(path)
    problem = _assign(tree, keys, value)
    if problem is None and keys[0] in _TWINS and len(keys) > 1 and isinstance(tree, dict):
        _drop(cast("dict[str, Any]", tree), _TWINS[keys[0]], keys[1])
    return problem


def _steps(path: str) -> list[str]:
    keys = _STEP.findall(path)
    if keys[0] == "axes" and keys[1:2] == ["options"] and len(keys) > 2:
        keys[1:3] = [f"options.{keys[2]}"]  # the one key that has a dot in it
    return keys


def _drop(tree: dict[str, Any], section: str, key: str) -> None:
    fields = tree.get(section)
    if isinstance(fields, dict) and key in fields:
        del fields[key]
        if not fields:
            del tree[section]


def _assign(tree: Any, keys: list[str], value: Any) -> str | None:
    target = tree
    for depth, key in enumerate(keys):
        is_last = depth == len(keys) - 1
        if isinstance(target, dict):
            if is_last:
                target[key] = value
            else:
                target = cast("dict[str, Any]", target).setdefault(key, {})
        elif isinstance(target, list):
            entries = cast("list[Any]", target)
            index = _index(entries, key)
            if isinstance(index, str):
                return index
            if is_last:
                entries[index] = value
            else:
                target = entries[index]
        else:
            return f"{'.'.join(keys[:depth]) or 'the suite'} has nothing inside to set"
    return None


def _index(entries: list[Any], key: str) -> int | str:
    """Return the place of an entry named by number or by id, or what is wrong with the name."""
    names = [
        str(cast("dict[str, Any]", entry).get("id", "")) if isinstance(entry, dict) else ""
        for entry in entries
    ]
    ids = [name for name in names if name]
    if key in names:
        return names.index(key)
    if key.isdecimal() and int(key) < len(entries):
        return int(key)
    if key.isdecimal():
        return f"there is no entry {key}; there are {len(entries)}, counted from 0"
    near = difflib.get_close_matches(key, ids, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"ids: {', '.join(ids) or 'none'}"
    return f"no entry has the id {key!r}; {hint}"
