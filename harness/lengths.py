"""Quantities as people write them: lengths such as 2k and sizes such as 4GiB."""

from __future__ import annotations

import re
from typing import Any

KILO = 1024  # lengths are powers of two, so 2k means 2048
UNITS = {"KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}

_LENGTH = re.compile(r"(\d{1,15})k", re.ASCII)
_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?([KMGT]iB)", re.ASCII)


def whole(value: Any) -> int | None:
    """Return a whole number from `512`, `1e3` or `2k` (1k = 1024); None where it is none."""
    if isinstance(value, str):
        match = _LENGTH.fullmatch(value)
        return int(match[1]) * KILO if match else None
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def size(value: Any) -> int | None:
    """Return bytes from a whole number or from a text such as `4GiB`; None where it is neither."""
    if isinstance(value, str) and (match := _SIZE.fullmatch(value)):
        return int(float(match[1]) * UNITS[match[2]])
    return whole(value)


def powers_of_two(first: int, last: int) -> tuple[int, ...]:
    """Return 2^first ... 2^last, both included."""
    return tuple(1 << exponent for exponent in range(first, last + 1))
