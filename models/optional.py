"""Packages that ours are compared with: imported only when a suite names them."""

from __future__ import annotations

import importlib
from types import ModuleType

from models.variant import Unsupported


def optional(module: str, *packages: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: dotted name.
        packages: requirements that pip understands, the whole of what is missing without them.

    Raises:
        Unsupported: it is not installed; the message is the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        wanted = " ".join(packages)
        raise Unsupported(
            f"no module {error.name!r} here; it comes with: pip install {wanted}"
        ) from (error)
