"""A YAML file as plain values: bounded, without tags, each key once, YAML 1.2 scalars.

PyYAML scans and composes; the values are made here, because its YAML 1.1 rules surprise: `1e-3` is
a text there, `no` is false, `1:30` is 90 and `010` is 8. Keys are always text.
"""

from __future__ import annotations

import difflib
import re
import stat
from pathlib import Path
from typing import Any, cast

import yaml

MAX_BYTES = 1 << 20
MAX_NODES = 10_000  # after aliases are expanded
MAX_DEPTH = 16
MAX_ALIASES = 16
MAX_KEY = 64  # characters of a key
MAX_WORDS = 160  # characters of what PyYAML says

_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?\d{1,18}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d{1,18}\.\d{0,18}|\.?\d{1,18})([eE][-+]?\d{1,4})?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")


class SuiteError(ValueError):
    """A suite that cannot be run as written; the message has one line per problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def read(path: Path) -> str:
    """Return the text of a small regular file.

    Raises:
        SuiteError: it is missing, no regular file, unreadable, empty, too large or not UTF-8.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise SuiteError(f"{path}: is a folder; name a suite file in it")
        if not stat.S_ISREG(status.st_mode):
            raise SuiteError(f"{path}: is not a regular file")
        if status.st_size > MAX_BYTES:
            amount = f"{status.st_size} bytes ({status.st_size / MAX_BYTES:.1f} MiB)"
            raise SuiteError(f"{path}: has {amount}; a suite has at most 1 MiB")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES)
    except FileNotFoundError as error:
        raise SuiteError(f"{path}: no such file{_neighbour(path)}") from error
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise SuiteError(f"{path}: cannot be read: {reason}") from error
    return _text(path, data)


def parse(text: str, source: str) -> Any:
    """Return the values of one YAML document.

    Raises:
        SuiteError: it is not YAML, or has what a suite must not have; `source` names the place.
    """
    try:
        root = _Composer(text).get_single_node()
        return None if root is None else _Builder().value(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        words = str(error.problem or error.context)
        short = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}..."
        raise SuiteError(f"{source}: {place}{short}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SuiteError(f"{source}: line {line}: a character that YAML forbids") from error
    except (ValueError, OverflowError) as error:  # escapes such as "\UFFFFFFFF"
        raise SuiteError(f"{source}: not YAML: {error}") from error


def scalar(text: str) -> bool | int | float | str | None:
    """Return the value of an unquoted scalar by the rules of YAML 1.2's core schema."""
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Composer(yaml.SafeLoader):
    """Refuses tags, depth, size and alias bombs while the nodes are being made."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[str | None] = []  # anchors of the nodes around the current one
        self._nodes = 0
        self._aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = cast("Any", self).peek_event()
        self._nodes += 1
        fault = self._fault(event)
        if fault:
            raise yaml.MarkedYAMLError(problem=fault, problem_mark=event.start_mark)
        self._open.append(event.anchor)
        node = super().compose_node(parent, index)
        self._open.pop()
        return node

    def _fault(self, event: Any) -> str | None:
        if self._nodes > MAX_NODES:
            return f"more than {MAX_NODES} values"
        if len(self._open) >= MAX_DEPTH:
            return f"nested deeper than {MAX_DEPTH} levels"
        if isinstance(event, yaml.AliasEvent):
            self._aliases += 1
            if self._aliases > MAX_ALIASES:
                return f"more than {MAX_ALIASES} aliases"
            return f"*{event.anchor} refers to itself" if event.anchor in self._open else None
        return f"a suite has no YAML tags, and this is {event.tag!r}" if event.tag else None


class _Builder:
    """Makes values of nodes; an alias becomes a copy, so that no two places share a value."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, node: yaml.Node) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise _fault(node, f"more than {MAX_NODES} values once aliases are expanded")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        text = str(node.value)
        if _SURROGATE.search(text):
            raise _fault(node, "half of a surrogate pair is not a character")
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        return scalar(text) if is_plain else text

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault(key, "a key must be a text")
            name = str(key.value)
            if len(name) > MAX_KEY:
                raise _fault(key, f"the key {name[:20]!r}... has {len(name)} characters")
            if name in values:
                raise _fault(key, f"the key {name!r} appears twice")
            if not name.isprintable():
                raise _fault(key, f"the key {name!r} has characters that cannot be printed")
            values[name] = self.value(item)
        return values


def _fault(node: yaml.Node, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def _text(path: Path, data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at offset {error.start}"
        raise SuiteError(f"{path}: is not UTF-8 text ({byte})") from error
    if "\0" in text:
        raise SuiteError(f"{path}: is a binary file (byte 0x00 at offset {data.index(0)})")
    if not text.strip("\ufeff \t\r\n"):
        raise SuiteError(f"{path}: is empty")
    return text


def _neighbour(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    names = sorted(file.name for file in path.parent.glob("*.yaml"))
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.5)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""
