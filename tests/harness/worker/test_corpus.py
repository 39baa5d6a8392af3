from pathlib import Path

import pytest
import torch

from harness.worker import corpus


@pytest.fixture
def text(tmp_path: Path):
    file = tmp_path / "text.txt"
    file.write_bytes(bytes(range(100)))
    return corpus.load(str(file))


def test_the_standard_library_is_read_the_same_way_each_time() -> None:
    first = corpus.load()
    corpus._load.cache_clear()
    again = corpus.load()
    assert (again.digest, again.size, again.name) == (first.digest, first.size, "stdlib")
    assert first.size > 1_000_000
    assert b"".join(bytes([c]) for c in first.tokens[:2000].tolist()).decode()


def test_a_corpus_is_read_once_a_process(text, tmp_path: Path) -> None:
    assert corpus.load() is corpus.load(None)
    (tmp_path / "text.txt").unlink()
    assert corpus.load(str(tmp_path / "text.txt")) is text


def test_a_batch_is_made_of_contiguous_slices(text) -> None:
    tokens = corpus.batch(text, batch=5, seq_len=10, seed=0)
    assert tokens.shape == (5, 11)
    assert tokens.dtype == torch.int64
    assert (tokens.diff(dim=1) == 1).all()


def test_the_seed_decides_the_batch(text) -> None:
    first = corpus.batch(text, 8, 10, seed=1)
    assert torch.equal(first, corpus.batch(text, 8, 10, seed=1))
    assert not torch.equal(first, corpus.batch(text, 8, 10, seed=2))


def test_the_longest_slice_is_the_whole_corpus(text) -> None:
    assert corpus.batch(text, 1, 99, seed=0)[0].tolist() == list(range(100))


def test_every_offset_can_be_drawn(text) -> None:
    starts = corpus.batch(text, 2000, 96, seed=0)[:, 0]
    assert set(starts.tolist()) == {0, 1, 2, 3}


def test_a_corpus_that_is_too_short_names_both_sizes(text) -> None:
    with pytest.raises(ValueError, match=r"'text.txt' has 100 bytes.*100 tokens.*need 101"):
        corpus.batch(text, 1, 100, seed=0)


def test_a_large_file_is_read_up_to_a_bound(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(corpus, "MAX_BYTES", 7)
    file = tmp_path / "large.txt"
    file.write_bytes(b"x" * 20)
    assert corpus.load(str(file)).size == 7


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing", "no such file"), ("folder", "not a regular file"), ("empty", "no text")],
)
def test_a_path_without_text_is_bad_input(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match=reason):
        corpus.load(str(tmp_path / name))


def test_an_unreadable_file_is_bad_input(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "secret"
    file.write_text("x")

    def refuse(*_args, **_kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ValueError, match=r"secret: Permission denied"):
        corpus.load(str(file))
