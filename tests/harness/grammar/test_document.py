from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.grammar import document


def problem_of_file(path: Path) -> str:
    with pytest.raises(document.SuiteError) as caught:
        document.parse(document.read(path), str(path))
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


def problem_of_text(text: str) -> str:
    with pytest.raises(document.SuiteError) as caught:
        document.parse(text, "x")
    assert str(caught.value).startswith("x: ")
    return str(caught.value).removeprefix("x: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"\xef\xbb\xbf\n", "is empty"),
        (b"name: \xff", "is not UTF-8 text (byte 0xff at offset 6)"),
        (b"name: \0", "is a binary file (byte 0x00 at offset 6)"),
        (b"\x89PNG\r\n\x1a\n\0", "is not UTF-8 text (byte 0x89 at offset 0)"),
        (b"name: \x07", "line 1: a character that YAML forbids"),
        (b"a: 1\nb: c: d", "line 2, column 5: mapping values are not allowed here"),
        (b"a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        (b"a: [1", "line 1, column 6: expected ',' or ']', but got '<stream end>'"),
    ],
)
def test_bytes_that_are_no_yaml_are_refused(data: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(data)
    assert problem_of_file(path) == expected


def test_a_large_file_is_refused_by_its_size_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(10 << 20)
    assert problem_of_file(path) == "has 10485760 bytes (10.0 MiB); a suite has at most 1 MiB"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert problem_of_file(tmp_path) == "is a folder; name a suite file in it"


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert problem_of_file(tmp_path / "pipe") == "is not a regular file"


def test_a_missing_file_is_answered_with_its_nearest_neighbour(tmp_path: Path) -> None:
    (tmp_path / "long_seq.yaml").touch()
    expected = f"no such file; did you mean '{tmp_path / 'long_seq.yaml'}'?"
    assert problem_of_file(tmp_path / "longseq.yaml") == expected
    assert problem_of_file(tmp_path / "zzz") == "no such file"
    lost = tmp_path / "lost" / "x.yaml"
    assert problem_of_file(lost) == f"no such file; the folder {lost.parent} does not exist either"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied"), "cannot be read: permission denied"),
        (OSError(5, "Input/output error"), "cannot be read: input/output error"),
    ],
)
def test_an_unreadable_file_is_refused_with_the_systems_reason(
    error: OSError, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1")

    def fail(*_: object) -> None:  # root may read anything, so the refusal is made here
        raise error

    monkeypatch.setattr(Path, "open", fail)
    assert problem_of_file(path) == expected


def test_a_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    assert problem_of_file(tmp_path / ("x" * 300)) == "cannot be read: file name too long"
    assert problem_of_file(Path("/etc/hosts/x")) == "cannot be read: not a directory"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-1.5E+2", -150.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("010", 10),
        ("+7", 7),
        ("1:30", "1:30"),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("~", None),
        ("", None),
        ("2026-99-99", "2026-99-99"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("[1, 2k, {a: b}]", [1, "2k", {"a": "b"}]),
        ("{1: a, no: b}", {"1": "a", "no": "b"}),
    ],
)
def test_scalars_are_read_by_the_rules_of_yaml_1_2(text: str, value: object) -> None:
    parsed = document.parse(text, "x")
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_number_of_a_thousand_digits_is_a_text_and_no_crash() -> None:
    assert document.parse("9" * 5000, "x") == "9" * 5000


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.system [ls]", "!x 1", "!!str a", "! a"])
def test_tags_are_refused(tag: str) -> None:
    assert "a suite has no YAML tags" in problem_of_text(f"a: {tag}")


def test_a_key_has_a_bounded_length_and_can_be_printed() -> None:
    assert "the key 'xxxxxxxxxxxxxxxxxxxx'... has 65 characters" in problem_of_text(
        "x" * 65 + ": 1"
    )
    assert "characters that cannot be printed" in problem_of_text('"\\a": 1')


@pytest.mark.parametrize("text", ["!" + "x" * 9999, "*" + "x" * 9999, "{? " + "x" * 9999])
def test_a_message_is_short_however_long_the_text(text: str) -> None:
    assert len(problem_of_text(text)) < 250


def test_a_key_appears_once() -> None:
    assert (
        problem_of_text("a: 1\nb: {c: 1, 'c': 2}") == "line 2, column 11: the key 'c' appears twice"
    )


@pytest.mark.parametrize("text", ["[a]: 1", "? {a: b}\n: c"])
def test_a_key_is_a_text(text: str) -> None:
    assert "a key must be a text" in problem_of_text(text)


def test_a_few_aliases_are_copies() -> None:
    parsed = document.parse("a: &x {b: [1]}\nc: *x", "x")
    assert parsed == {"a": {"b": [1]}, "c": {"b": [1]}}
    assert parsed["a"] is not parsed["c"]


def test_an_alias_bomb_is_refused() -> None:
    lines = ["a: &a [lol, lol]"]
    lines += [
        f"{new}: &{new} [{', '.join(f'*{old}' for _ in range(9))}]" for old, new in ("ab", "bc")
    ]
    assert "more than 16 aliases" in problem_of_text("\n".join(lines))


def test_a_bomb_of_few_aliases_is_refused_by_what_it_expands_to() -> None:
    lines = [f"a: &a [{', '.join(['1'] * 500)}]"]
    lines += [f"{new}: &{new} [*{old}, *{old}, *{old}]" for old, new in ("ab", "bc", "cd")]
    assert "more than 10000 values once aliases are expanded" in problem_of_text("\n".join(lines))


def test_an_alias_of_what_is_around_it_is_refused() -> None:
    assert "*a refers to itself" in problem_of_text("a: &a [1, *a]")


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 5000 + "x", "{a: " * 50 + "1"])
def test_deep_nesting_is_refused(text: str) -> None:
    assert "nested deeper than 16 levels" in problem_of_text(text)


def test_a_file_of_very_many_values_is_refused() -> None:
    assert "more than 10000 values" in problem_of_text("- 1\n" * 10_001)


@pytest.mark.parametrize("text", [r'"\UFFFFFFFF"', r'"\U00110000"', r'a: "\ud800"'])
def test_escapes_of_characters_that_do_not_exist_are_refused(text: str) -> None:
    assert problem_of_text(text)
