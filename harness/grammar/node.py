"""A place in a document: its value, its dotted path, and checks that report instead of raise."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from harness import lengths
from harness.schema import DEVICES
from models.catalog import unknown

T = TypeVar("T")
MAX_COUNT = 2**31 - 1
MAX_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Node:
    """A value with its place. A check returns None, or nothing, where it reported a problem."""

    value: Any
    path: str  # axes.seq_len, contenders[1].attention; empty at the top
    problems: list[str]  # shared by all nodes of a document

    @property
    def mapping(self) -> dict[str, Any] | None:
        """The value, if it is a mapping."""
        value = self.value
        return cast("dict[str, Any]", value) if isinstance(value, dict) else None

    @property
    def sequence(self) -> list[Any] | None:
        """The value, if it is a list."""
        value = self.value
        return cast("list[Any]", value) if isinstance(value, list) else None

    def report(self, message: str) -> None:
        """Add a problem at this place."""
        self.problems.append(f"{self.path}: {message}" if self.path else message)

    def expected(self, what: str) -> None:
        """Report a value of the wrong kind."""
        self.report(f"expected {what}, got {show(self.value)}")

    def entries(self) -> dict[str, Node]:
        """Return the children of a mapping that has at least one key."""
        values = self.mapping
        if values is None:
            self.expected("a mapping")
            return {}
        if not values:
            self.report("is empty; give it a key or leave it out")
        stem = f"{self.path}." if self.path else ""
        return {key: Node(item, f"{stem}{key}", self.problems) for key, item in values.items()}

    def record(self, required: Sequence[str], optional: Iterable[str] = ()) -> dict[str, Node]:
        """Return the children of a mapping whose keys are known."""
        known = [*required, *optional]
        children = self.entries()
        for key, child in children.items():
            if key not in known:
                child.report(f"unknown key{_hint(key, known)}")
        if children:
            for key in required:
                if key not in children:
                    stem = f"{self.path}." if self.path else ""
                    self.problems.append(f"{stem}{key}: is missing")
        return {key: child for key, child in children.items() if key in known}

    def items(self) -> list[Node]:
        """Return the children of a list that has at least one."""
        values = self.sequence
        if values is None:
            self.expected("a list")
            return []
        if not values:
            self.report("is empty; give at least one value")
        return [Node(v, f"{self.path}[{i}]", self.problems) for i, v in enumerate(values)]

    def text(self) -> str | None:
        """Return a text with something in it."""
        if not isinstance(self.value, str) or not self.value.strip():
            return self.expected("a text")
        if len(self.value) > MAX_TEXT:
            return self.report(f"has {len(self.value)} characters; at most {MAX_TEXT}")
        if not self.value.replace("\n", " ").isprintable():
            return self.report("has characters that cannot be printed")
        return self.value

    def choice(self, kind: str, known: Sequence[str]) -> str | None:
        """Return one of the known names."""
        if not isinstance(self.value, str):
            return self.expected(f"a {kind} (known: {', '.join(known)})")
        if self.value not in known:
            return self.report(unknown(kind, self.value[:60], list(known)))
        return self.value

    def boolean(self) -> bool | None:
        """Return true or false."""
        return self.value if isinstance(self.value, bool) else self.expected("true or false")

    def count(self, minimum: int = 1, maximum: int = MAX_COUNT) -> int | None:
        """Return a whole number in a range; `2k` is 2048."""
        number = lengths.whole(self.value)
        if number is None or number < minimum:
            return self.expected(f"a whole number of at least {minimum}, such as 512 or 2k")
        if number > maximum:
            return self.expected(f"a whole number of at most {maximum}")
        return number

    def number(self, minimum: float, maximum: float) -> float | None:
        """Return a finite number in a range."""
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not is_number or not math.isfinite(self.value):
            return self.expected("a number")
        if not minimum <= self.value <= maximum:
            return self.expected(f"a number from {minimum:g} to {maximum:g}")
        return float(self.value)

    def option(self) -> Any:
        """Return what an option may be: a scalar (`2k` is 2048) or a list of scalars."""
        if self.sequence is not None:
            return [item.option() for item in self.items()]
        if self.mapping is not None:
            return self.expected("a number, a text, true, false or a list of these")
        if isinstance(self.value, float) and not math.isfinite(self.value):
            return self.expected("a finite number")
        length = lengths.whole(self.value) if isinstance(self.value, str) else None
        return self.value if length is None else length

    def by_device(self, check: Callable[[Node], T | None]) -> dict[str, T]:
        """Check a value, or each value of a map by device, and return values by device."""
        if not set(DEVICES) & set(self.mapping or {}):
            value = check(self)
            return {} if value is None else dict.fromkeys(DEVICES, value)
        checked = {device: check(child) for device, child in self.record((), DEVICES).items()}
        return {device: value for device, value in checked.items() if value is not None}


def show(value: Any) -> str:
    """Return a value as a message names it: short, one line."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _hint(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f", did you mean {near[0]!r}?" if near else f"; known: {', '.join(known) or 'none'}"
