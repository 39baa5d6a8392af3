from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from harness.grammar import declarations
from models.variant import VARIANTS

PLAIN = """
@dataclass
class Options:
    hashes: int = 4
    chunk: int = 64

    def __post_init__(self) -> None: ...

VARIANT = Variant(module=M, options=Options, impls=("fast", "reference"))
"""


def declared(folder: Path, text: str) -> declarations.Declaration:
    file = folder / "x.py"
    file.write_text(text, encoding="utf-8")
    return declarations.declaration(file, "VARIANT")


@pytest.mark.parametrize("name", VARIANTS.names())
def test_what_is_read_of_a_variant_is_what_importing_it_gives(name: str) -> None:
    variant = VARIANTS.load(name)
    found = declarations.declaration(VARIANTS.file(name), "VARIANT")
    assert found.impls in (None, variant.impls)
    fields = tuple(field.name for field in dataclasses.fields(variant.options))
    assert found.options in (None, fields)


def test_a_plain_file_tells_its_impls_and_options(tmp_path: Path) -> None:
    assert declared(tmp_path, PLAIN) == declarations.Declaration(
        impls=("fast", "reference"), options=("hashes", "chunk")
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "def f(:",
        "VARIANT = make()",
        "VARIANT: Variant = other",
        PLAIN.replace("class Options:", "class Options(Base):").replace(
            '("fast", "ref', '(A, "ref'
        ),
        "from x import Options, IMPLS\nVARIANT = Variant(options=Options, impls=IMPLS)",
    ],
)
def test_what_a_file_does_not_say_plainly_stays_unknown(text: str, tmp_path: Path) -> None:
    assert declared(tmp_path, text) == declarations.Declaration()


def test_a_file_that_cannot_be_read_declares_nothing(tmp_path: Path) -> None:
    assert declarations.declaration(tmp_path / "none.py", "VARIANT") == declarations.Declaration()
    (tmp_path / "x.py").write_bytes(b"\xff\0")
    assert declarations.declaration(tmp_path / "x.py", "VARIANT") == declarations.Declaration()


def test_options_that_stand_in_another_file_of_the_house_are_found() -> None:
    names = declarations.option_names(
        "reformer", declarations.MODELS_FOLDER / "variants" / "lsh.py"
    )
    assert names is not None
    assert {"hashes", "chunk", "layer_kinds"} <= set(names)
