"""The shelf: names without imports, help with misspelt names, files from elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

from models.catalog import BrokenFileError, Catalog, UnknownNameError, unknown
from models.variant import VARIANTS, Variant

PLUGIN = '''"""A mechanism from elsewhere."""

from models.variants.full import VARIANT as FULL

VARIANT = FULL
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "from_elsewhere.py"
    file.write_text(PLUGIN, encoding="utf-8")
    return file


def test_names_and_summaries_are_known_without_importing_torch() -> None:
    code = (
        "import sys; from models.catalog import Catalog\n"
        "shelf = Catalog('models.variants', 'VARIANT')\n"
        "print(shelf.names(), [shelf.summary(name) for name in shelf.names()])\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(f"'{name}'" in done.stdout for name in ("full", "local", "lsh"))


@pytest.mark.parametrize("name", VARIANTS.names())
def test_every_file_loads_and_says_in_one_line_what_it_is(name: str) -> None:
    variant = VARIANTS.load(name)
    assert isinstance(variant, Variant)
    assert "reference" in variant.impls
    assert VARIANTS.summary(name).endswith(".")


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown variant 'lhs'; did you mean 'lsh'\?"):
        VARIANTS.load("lhs")
    assert unknown("variant", "zzz", ["full"]) == "unknown variant 'zzz'; known: full"


def test_a_file_from_elsewhere_joins_by_its_stem(plugin: Path) -> None:
    shelf = VARIANTS.with_files(plugin)
    assert "from_elsewhere" in shelf.names()
    assert shelf.summary("from_elsewhere") == "A mechanism from elsewhere."
    assert shelf.load("from_elsewhere") is VARIANTS.load("full")
    assert "from_elsewhere" not in VARIANTS.names()


def test_a_taken_name_and_a_missing_file_are_refused(plugin: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is taken"):
        VARIANTS.with_files(plugin).with_files(plugin)
    clash = plugin.rename(tmp_path / "lsh.py")
    with pytest.raises(ValueError, match="'lsh' is taken"):
        VARIANTS.with_files(clash)
    with pytest.raises(ValueError, match="no such file"):
        VARIANTS.with_files(tmp_path / "absent.py")


def test_a_file_without_its_object_or_with_a_fault_says_so(tmp_path: Path) -> None:
    empty, faulty = tmp_path / "empty.py", tmp_path / "faulty.py"
    empty.write_text('"""Nothing."""\n', encoding="utf-8")
    faulty.write_text("1 / 0\n", encoding="utf-8")
    shelf = Catalog("models.variants", "VARIANT").with_files(empty, faulty)
    with pytest.raises(AttributeError, match=r"empty\.py does not define VARIANT"):
        shelf.load("empty")
    for _ in range(2):  # a failed import leaves nothing behind
        with pytest.raises(BrokenFileError, match=r"faulty\.py:1: ZeroDivisionError: division"):
            shelf.load("faulty")
    faulty.write_text("x = 1\ndef f(:\n", encoding="utf-8")
    with pytest.raises(BrokenFileError, match=r"faulty\.py:2: SyntaxError: "):
        shelf.load("faulty")
