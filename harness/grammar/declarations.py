"""What a model or a variant says of itself at the end of its file, read without importing it.

The office must not import torch, and still a misspelt impl or option should fail before a run
starts. What a file does not say plainly stays unknown here, and the worker will answer for it.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models import catalog

MODELS_FOLDER = Path(catalog.__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The keywords of `VARIANT = Variant(...)` or `MODEL = Model(...)` that a suite refers to."""

    impls: tuple[str, ...] | None = None  # None: not stated plainly
    options: tuple[str, ...] | None = None  # names of the options' fields


def declaration(file: Path, attribute: str) -> Declaration:
    """Return what a file declares under an attribute; nothing where it cannot be read."""
    try:
        module = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):  # the worker reports it when it imports the file
        return Declaration()
    keywords = _keywords(module, attribute)
    return Declaration(
        impls=_texts(keywords.get("impls")), options=_fields(module, keywords.get("options"))
    )


def literals(file: Path, attribute: str) -> dict[str, Any]:
    """Return those keywords of `attribute = Kind(...)` that are written as plain values."""
    try:
        module = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):  # the worker reports it when it imports the file
        return {}
    found: dict[str, Any] = {}
    for name, node in _keywords(module, attribute).items():
        with suppress(ValueError):  # a name or a call: its value is not written here
            found[name] = ast.literal_eval(node)
    return found


def option_names(model: str, variant: Path) -> tuple[str, ...] | None:
    """Return the options that a contender may have: its model's and its variant's."""
    own = declaration(MODELS_FOLDER / f"{model}.py", "MODEL").options
    inner = declaration(variant, "VARIANT").options
    return None if own is None or inner is None else (*own, *inner)


def peer_options(model: str) -> tuple[str, ...] | None:
    """Return the options that another package's network takes."""
    return declaration(MODELS_FOLDER / "peers" / f"{model}.py", "MODEL").options


def _imported(module: str, node: ast.expr | None) -> tuple[str, ...] | None:
    """Return the fields of a class of another file of the house."""
    file = MODELS_FOLDER.parent.joinpath(*module.split(".")).with_suffix(".py")
    if not module.startswith(f"{MODELS_FOLDER.name}.") or not file.is_file():
        return None
    return _fields(ast.parse(file.read_text(encoding="utf-8")), node)


def _keywords(module: ast.Module, attribute: str) -> dict[str, ast.expr]:
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            targets = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if attribute in targets:
                return {word.arg: word.value for word in node.value.keywords if word.arg}
    return {}


def _texts(node: ast.expr | None) -> tuple[str, ...] | None:
    items: Sequence[ast.expr] = node.elts if isinstance(node, ast.Tuple | ast.List) else ()
    texts = [item.value for item in items if isinstance(item, ast.Constant)]
    found = tuple(text for text in texts if isinstance(text, str))
    return found if found and len(found) == len(items) else None


def _fields(module: ast.Module, node: ast.expr | None) -> tuple[str, ...] | None:
    """Return the fields of a class that inherits from nothing, here or where it comes from."""
    name = node.id if isinstance(node, ast.Name) else None
    for item in module.body:
        if isinstance(item, ast.ImportFrom) and name in {word.name for word in item.names}:
            return _imported(item.module or "", node)
        if isinstance(item, ast.ClassDef) and item.name == name and not item.bases:
            lines = [line.target for line in item.body if isinstance(line, ast.AnnAssign)]
            return tuple(line.id for line in lines if isinstance(line, ast.Name))
    return None
