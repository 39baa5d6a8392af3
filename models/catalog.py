"""A shelf of files that are found by name and imported only when asked for."""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any


class UnknownNameError(ValueError):
    """A name that no file on the shelf has; the message gives the nearest match and all names."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """The files of one folder, each holding one object under the same attribute.

    The folder is the registry: `names` lists files without importing them, so that it may be asked
    where torch must not be imported; `load` imports one file. Files from elsewhere join by name.
    """

    package: str  # dotted name of the folder, "models.variants"
    attribute: str  # what each file defines, "VARIANT"
    extra: Mapping[str, Path] = field(default_factory=dict[str, Path])

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
        return Catalog(self.package, self.attribute, extra)

    def names(self) -> list[str]:
        """Return the names on the shelf, sorted; imports nothing below the folder itself."""
        return sorted({*self._files(), *self.extra})

    def file(self, name: str) -> Path:
        """Return the file behind a name.

        Raises:
            UnknownNameError: there is none.
        """
        found = {**self._files(), **self.extra}.get(name)
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
            AttributeError: the file does not define the attribute.
        """
        file = self.file(name)
        if name in self.extra:
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
    except BaseException:
        del sys.modules[name]
        raise
    return module
