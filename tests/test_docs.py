"""The README tells the truth: its commands parse, its files exist, its example variant measures."""

import re
import shlex
from pathlib import Path

import pytest

from harness import arguments, cli, store
from harness.schema import Outcome
from harness.suite import VARIANTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        re.split("[#>]", line)[0].strip()
        for kind, text in BLOCKS
        if kind == "sh"
        for line in text.splitlines()
    }
)
TINY = [
    *("--set", "axes.seq_len=[16]", "--set", "fixed.d_model=16", "--set", "fixed.heads=2"),
    *("--set", "fixed.d_ff=16", "--set", "fixed.layers=1", "--only", "transformer-local"),
    *("--set", "protocol.min_samples=3", "--set", "protocol.min_time_s=0"),
]


def test_the_readme_shows_commands() -> None:
    assert len(COMMANDS) >= 4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_is_one_that_exists(command: str) -> None:
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    else:
        assert words[:3] == [".venv/bin/python", "-m", "harness"]
        assert arguments.parse(words[3:]).verb in cli.COMMANDS


def test_every_verb_is_in_the_readme() -> None:
    table = README.partition("## Verbs")[2].partition("##")[0]
    for verb in cli.COMMANDS:
        assert f"| `{verb}" in table, verb


def test_every_listing_is_in_the_readme() -> None:
    assert all(f"`{what}`" in README or f"list {what}" in README for what in arguments.LISTINGS)


def test_files_that_the_readme_names_exist() -> None:
    named = set(re.findall(r"`((?:suites|results|models|harness|dashboard)/[\w./]*)`", README))
    assert len(named) >= 3
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_variant_that_the_readme_begins_with_is_measured_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (command,) = [command for command in COMMANDS if "--plugin" in command]
    (new,) = [command for command in COMMANDS if "new-variant" in command]
    assert cli.main(shlex.split(new)[3:]) == cli.EXIT_OK
    (tmp_path / "my_attention.py").write_text(capsys.readouterr().out)
    words = shlex.split(command)[3:]
    words = [str(ROOT / word) if word.startswith("suites/") else word for word in words]
    monkeypatch.chdir(tmp_path)
    assert cli.main([*words, *TINY]) == cli.EXIT_OK
    results = store.open("latest").results
    assert {(r.cell.attention, r.cell.impl) for r in results} == {("my_attention", "eager")}
    assert {r.outcome for r in results} == {Outcome.OK}


def test_every_variant_says_what_it_is() -> None:
    assert all(VARIANTS.summary(name).endswith(".") for name in VARIANTS.names())
