"""Laws of the command line: exit codes, one message, no traceback, nothing written."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from harness import cli
from harness.arguments import LISTINGS

SUITE = """
version: 1
name: tiny
question: Which is faster?
contenders:
  - {id: a, model: transformer, attention: full, impl: sdpa}
  - {id: b, model: reformer, options: {hashes: 2, chunk: 16}}
axes: {phase: [forward], seq_len: [32]}
fixed: {d_model: 16, heads: 2, d_ff: 16, layers: 1}
metrics: [latency]
protocol: {launches: 1, min_samples: 3, min_time_s: 0, max_time_s: 0.1}
"""
BOMB = "a: &a x\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in pairwise("abcdefgh")
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with one good suite."""
    (tmp_path / "tiny.yaml").write_text(SUITE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must be refused, and return its message."""
    assert cli.main(arguments) == cli.EXIT_USAGE
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert captured.err.startswith("error: ")
    assert not Path("results").exists()
    return captured.err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("axes.seq_lens=[32]", "did you mean 'seq_len'"),
        ("fixed.d_model=wide", "fixed.d_model"),
        ("contenders.a.attention=ful", "did you mean 'full'"),
        ("metrics=[latncy]", "did you mean 'latency'"),
        ("axes.seq_len=[]", "axes.seq_len"),
        ("axes.seq_len=[-4]", "axes.seq_len"),
        ("contenders.b.id=a", "contenders"),
        ("data.path=nowhere.txt", "nowhere.txt"),
    ],
)
def test_a_bad_value_is_named_with_its_place(
    place: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    assert words in refused(capsys, "run", "tiny.yaml", "--set", change)


def test_all_problems_are_told_at_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("fixed.d_model=wide", "metrics=[latncy]", "axes.seq_len=[-4]")
    flags = [part for change in changes for part in ("--set", change)]
    assert refused(capsys, "run", "tiny.yaml", *flags).count("error: ") == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: !!python/object/apply:os.system [echo]\n", "tag"),
        (BOMB, "aliases"),
        ("x" * (10 << 20), "1 MiB"),
        ("", "empty"),
        ("a: [", "line 1"),
        ("\x00\x01", "tiny.yaml"),
    ],
)
def test_a_file_that_is_no_suite_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    Path("tiny.yaml").write_text(text)
    assert words in refused(capsys, "run", "tiny.yaml")


def test_a_folder_is_no_suite(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "folder" in refused(capsys, "run", ".")


def test_a_missing_suite_names_its_neighbour(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "did you mean 'tiny.yaml'" in refused(capsys, "run", "tinny.yaml")


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "nope"),
        ("compare", "nope", "nope"),
        ("export", "nope", "--to", "csv"),
        ("run", "--resume", "nope"),
    ],
)
def test_a_run_that_is_not_there_is_named(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert "'nope'" in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run",), "name a suite"),
        (("run", "tiny.yaml", "--plugin", "none.py"), "no such file"),
        (("run", "tiny.yaml", "--executor", "loca"), "did you mean 'local'"),
        (("list", "variant"), "did you mean 'variants'"),
    ],
)
def test_a_bad_request_says_what_would_do(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert words in refused(capsys, *arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("contenders.b.options.buckets=3", "buckets"),
        ("axes.seq_len=[1g]", "seq_len"),
        ("axes.seq_len=[33, 100000000]", "100000001"),
    ],
)
def test_a_cell_that_can_never_be_measured_is_refused_before_the_run(
    place: Path, capsys: pytest.CaptureFixture[str], change: str, words: str
) -> None:
    assert words in refused(capsys, "run", "tiny.yaml", "--set", change).replace(",", "")


def test_usage_errors_exit_with_2() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["measure"])
    assert caught.value.code == cli.EXIT_USAGE


@pytest.mark.parametrize("what", LISTINGS)
def test_every_listing_has_something_or_says_none(
    capsys: pytest.CaptureFixture[str], what: str, tmp_path: Path
) -> None:
    assert cli.main(["list", what, "--out", str(tmp_path)]) == cli.EXIT_OK
    assert capsys.readouterr().out.strip()


def test_a_run_ends_with_tables_an_answer_and_its_folder(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "tiny.yaml"]) == cli.EXIT_OK
    lines = capsys.readouterr().out.strip().splitlines()
    folder = Path(lines[-1])
    assert (folder / "run.json").is_file()
    assert any("latency" in line for line in lines)
    assert any("fastest" in line or "no difference" in line for line in lines)

    for arguments in (
        ["show", "latest"],
        ["show", "latest", "a"],
        ["compare", "latest", folder.name],
        ["export", "latest", "--to", "markdown"],
        ["list", "runs"],
    ):
        assert cli.main(arguments) == cli.EXIT_OK, arguments
        assert capsys.readouterr().out.strip()


def test_a_dry_run_writes_nothing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "tiny.yaml", "--dry-run"]) == cli.EXIT_OK
    assert "2 cells" in capsys.readouterr().out
    assert not Path("results").exists()


def test_the_office_starts_without_torch() -> None:
    code = "import sys, harness.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
