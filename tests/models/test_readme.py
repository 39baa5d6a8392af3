"""The library's README runs, and stays short."""

import re
from pathlib import Path

import pytest

README = Path("models/README.md")


def test_the_examples_run(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / README).read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)


def test_it_fits_on_a_page(pytestconfig: pytest.Config) -> None:
    assert len((pytestconfig.rootpath / README).read_text(encoding="utf-8").splitlines()) <= 60


def test_the_table_has_a_word_for_every_peer(pytestconfig: pytest.Config) -> None:
    rows = [
        row
        for row in (pytestconfig.rootpath / README).read_text().splitlines()
        if row.startswith("|")
    ]
    assert {row.count("|") for row in rows} == {7}
