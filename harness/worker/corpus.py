"""Real text as tokens: the sources of Python's standard library, or the user's file.

Tokens are bytes. Hash buckets depend on content, so that random numbers would flatter or slander
an attention by hashing; the standard library is the text that every machine has.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

VOCAB = 256  # values of a byte
MAX_BYTES = 128 << 20  # of a file; what lies beyond is not read (enwik8 has 100 MB)
STDLIB = "stdlib"
_FOREIGN = frozenset({"site-packages", "dist-packages", "__pycache__", "test", "tests"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Corpus:
    """A text, its name and its fingerprint."""

    name: str  # `stdlib` or the file's name
    tokens: Tensor  # [size], uint8
    digest: str  # SHA-256 of the tokens, sixteen hexadecimal digits

    @property
    def size(self) -> int:
        """Tokens, that is bytes."""
        return len(self.tokens)


def load(path: str | None = None) -> Corpus:
    """Return a corpus, read once per process: forks of a process that has it inherit it.

    Args:
        path: a file; None takes the standard library's sources, in the order of their names.

    Raises:
        ValueError: the file does not exist, is no regular file, cannot be read or is empty.
    """
    return _load(path)


@functools.cache
def _load(path: str | None) -> Corpus:
    name = STDLIB if path is None else Path(path).name
    data = bytearray().join(_stdlib()) if path is None else _read(Path(path))
    if not data:
        raise ValueError(f"data {name!r}: no text in it")
    digest = hashlib.sha256(data).hexdigest()[:16]
    return Corpus(name=name, tokens=torch.frombuffer(data, dtype=torch.uint8), digest=digest)


def batch(corpus: Corpus, batch: int, seq_len: int, seed: int) -> Tensor:
    """Return slices of a corpus at random offsets, each with the token that follows it.

    Args:
        corpus: the text.
        batch: slices.
        seq_len: tokens of a slice, besides the one more that is the last target.
        seed: of the offsets; the same seed gives the same tokens on every machine.

    Returns:
        Tokens `[batch, seq_len + 1]`, int64, on the CPU.

    Raises:
        ValueError: the corpus is shorter than one slice.
    """
    require(corpus, seq_len)
    generator = torch.Generator().manual_seed(seed)
    starts = torch.randint(corpus.size - seq_len, (batch,), generator=generator).tolist()
    return torch.stack([corpus.tokens[i : i + seq_len + 1] for i in starts]).long()


def require(corpus: Corpus, seq_len: int) -> None:
    """Refuse a corpus that has no slice of this length.

    Raises:
        ValueError: it is too short; the message gives both sizes.
    """
    if corpus.size <= seq_len:
        raise ValueError(
            f"data {corpus.name!r} has {corpus.size:,} bytes; a sequence of {seq_len:,} tokens and "
            f"its last target need {seq_len + 1:,}"
        )


def _stdlib() -> Iterator[bytes]:
    root = Path(sysconfig.get_path("stdlib"))
    for file in sorted(_sources(root), key=lambda file: file.relative_to(root).parts):
        try:
            yield file.read_bytes()
        except OSError:  # unreadable or gone: the digest tells the difference
            continue


def _sources(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = set(folders) - _FOREIGN
        yield from (Path(folder, name) for name in files if name.endswith(".py"))


def _read(file: Path) -> bytearray:
    if not file.is_file():
        why = "not a regular file" if file.exists() else "no such file"
        raise ValueError(f"data.path {file}: {why}")
    try:
        with file.open("rb") as stream:
            return bytearray(stream.read(MAX_BYTES))
    except OSError as error:
        raise ValueError(f"data.path {file}: {error.strerror}") from error
