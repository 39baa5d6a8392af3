"""A shelf of files that are found by name and imported only when asked for."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.metadata
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any


class BrokenFileError(ValueError):
    """A file from elsewhere that cannot be imported; the message names it, its line and why."""


class UnknownNameError(ValueError):
    """A name that no file on the shelf has; the message gives the nearest match and all names."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The files of one folder, each holding one object under the same attribute.

    The folder is the registry: `names` lists files without importing them, so that it may be asked
    where torch must not be imported; `load` imports one file. Files from elsewhere join by name:
    those that are handed in, and those that installed packages name under an entry-point group,
    as `my_attention = "my_package.my_attention"`.
    """

    package: str  # dotted name of the folder, "models.variants"
    attribute: str  # what each file defines, "VARIANT"
    extra: Mapping[str, Path] = field(default_factory=dict[str, Path])
    group: str | None = None  # entry points of installed packages

    def with_files(self, *files: Path) -> Catalog:
        """Return a catalog that also holds files from elsewhere, named by their stems.

        Raises:
            ValueError: a file does not exist, or its name is taken.
        """
        extra = dict(self.extra)
        for file in files:
            if not file.is_file():
                raise ValueError(f"plugin {file}: no such file")
            if file.stem in extra or file.stem in self.names():
                raise ValueError(f"plugin {file}: the name {file.stem!r} is taken; rename the file")
            extra[file.stem] = file
        return replace(self, extra=extra)

    def names(self) -> list[str]:
        """Return the names on the shelf, sorted; imports nothing below the folder itself."""
        return sorted({*self._files(), *self._installed(), *self.extra})

    def file(self, name: str) -> Path:
        """Return the file behind a name.

        Raises:
            UnknownNameError: there is none.
        """
        found = {**self._installed(), **self._files(), **self.extra}.get(name)
        if found is None:
            raise UnknownNameError(unknown(self.attribute.lower(), name, self.names()))
        return found

    def summary(self, name: str) -> str:
        """Return the first line of a file's docstring, without importing it."""
        text = ast.get_docstring(ast.parse(self.file(name).read_text(encoding="utf-8"))) or ""
        return text.partition("\n")[0]

    def load(self, name: str) -> Any:
        """Import one file and return its object.

        Raises:
            UnknownNameError: no file has this name.
            BrokenFileError: a file from elsewhere cannot be imported.
            AttributeError: the file does not define the attribute.
        """
        file = self.file(name)
        if name in self.extra or name not in self._files():
            module = _import_file(f"{self.package}.{name}", file)
        else:
            module = importlib.import_module(f"{self.package}.{name}")
        try:
            return getattr(module, self.attribute)
        except AttributeError as error:
            raise AttributeError(f"{file.name} does not define {self.attribute}") from error

    def _files(self) -> dict[str, Path]:
        folder = Path(next(iter(importlib.import_module(self.package).__path__)))
        return {file.stem: file for file in folder.glob("*.py") if not file.stem.startswith("_")}

    def _installed(self) -> dict[str, Path]:
        return {} if self.group is None else _entry_points(self.group)


@functools.cache
def _entry_points(group: str) -> dict[str, Path]:
    """Return the files that installed packages name under a group, without importing them."""
    found: dict[str, Path] = {}
    for point in importlib.metadata.entry_points(group=group):
        file = Path(*point.module.split(".")).with_suffix(".py")
        place = None if point.dist is None else Path(str(point.dist.locate_file(file)))
        if place is None or not place.is_file():  # an editable install: ask where it lies
            spec = importlib.util.find_spec(point.module)
            place = Path(spec.origin) if spec is not None and spec.origin else None
        if place is not None:
            found[point.name] = place
    return found


def unknown(kind: str, name: str, known: list[str]) -> str:
    """Return the sentence that helps with a misspelt name."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(known)}"


def _import_file(name: str, file: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise BrokenFileError(_told(file, error)) from error
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _told(file: Path, error: Exception) -> str:
    """Return where in a file an error arose, and what it says."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines, message = [error.lineno], error.msg
    else:
        message = str(error).partition("\n")[0]
    place = f"{file}:{lines[-1]}" if lines else str(file)
    return f"{place}: {type(error).__name__}: {message}"
