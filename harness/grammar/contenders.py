"""The entries of a suite that compete, and the identifiers that name them in files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.grammar import declarations
from harness.grammar.node import Node
from harness.schema import MODELS, OWN, PEERS, Contender
from models.catalog import Catalog

# Of a model when a suite names none.
ATTENTION = {"transformer": "full", "reformer": "lsh", "seq2seq": "lsh"}
AUTO_IMPL = "auto"  # the variant chooses, and the result says what it chose

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+-]{0,63}", re.ASCII)


def read(node: Node, variants: Catalog) -> tuple[Contender, ...]:
    """Return the checked entries; the first is the baseline."""
    found: list[Contender] = []
    taken: set[str] = set()
    for item in node.items():
        children = item.record(("id", "model"), ("attention", "impl", "options"))
        identity = name(children["id"]) if "id" in children else None
        if identity in taken:
            children["id"].report(f"the id {identity!r} is taken by an entry above")
        contender = _contender(children, identity or "", variants)
        if identity is not None and identity not in taken:
            taken.add(identity)
            found.append(contender)
    return tuple(found)


def name(node: Node) -> str | None:
    """Return a name that is fit for a file's name and for a path such as contenders.NAME.impl."""
    text = node.text()
    if text is not None and not _NAME.fullmatch(text):
        return node.expected("a name of at most 64 letters, digits, '-', '_' and '+'")
    return text


def _contender(children: Mapping[str, Node], identity: str, variants: Catalog) -> Contender:
    """Return an entry; a faulty one keeps its id, which other sections may name."""
    model = children["model"].choice("model", (*MODELS, *PEERS)) if "model" in children else None
    if model in PEERS:
        return _peer(children, identity, model)
    attention = _attention(children, model, variants.names())
    known: tuple[str, ...] | None = None
    impls: tuple[str, ...] | None = None
    if model and attention:
        file = variants.file(attention)
        known = declarations.option_names(model, file)
        impls = declarations.declaration(file, "VARIANT").impls
    return Contender(
        id=identity,
        model=model or "",
        attention=attention or "",
        impl=(_impl(children["impl"], impls) if "impl" in children else AUTO_IMPL) or "",
        options=_options(children["options"], known) if "options" in children else {},
    )


def _peer(children: Mapping[str, Node], identity: str, model: str) -> Contender:
    """Return an entry of another package's network, whose attention nobody chooses."""
    for key in ("attention", "impl"):
        if key in children:
            children[key].report(f"{model} brings its own attention; leave {key} out")
    known = declarations.peer_options(model)
    options = _options(children["options"], known) if "options" in children else {}
    return Contender(id=identity, model=model, attention=OWN, impl=OWN, options=options)


def _attention(
    children: Mapping[str, Node], model: str | None, variants: Sequence[str]
) -> str | None:
    if "attention" in children:
        return children["attention"].choice("variant", variants)
    if model is None:
        return None
    place = children["model"]
    return Node(ATTENTION[model], place.path, place.problems).choice("variant", variants)


def _impl(node: Node, known: Sequence[str] | None) -> str | None:
    return name(node) if known is None else node.choice("impl", (AUTO_IMPL, *known))


def _options(node: Node, known: Sequence[str] | None) -> dict[str, Any]:
    if node.value == {}:  # the same as none
        return {}
    children = node.entries() if known is None else node.record((), known)
    return {key: child.option() for key, child in children.items()}
