"""Two source trees side by side in a temporary folder: a revision, and the code as it is now.

Both lie under paths of equal length and are compiled beforehand, because where a program lies and
how it was loaded moves its memory about, and with that its time. The code as it is now is copied,
so that it may be edited meanwhile.
"""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PACKAGES = ("harness", "models")  # what a worker imports
CANDIDATE, BASE = "head", "base"  # of equal length


class TreeError(RuntimeError):
    """The revision or the repository cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trees:
    """Two folders that hold the packages, and what they are."""

    base: Path
    candidate: Path
    revision: str  # of the base, in full


@contextmanager
def side_by_side(repository: Path, revision: str) -> Generator[Trees]:
    """Give a git worktree of a revision and a copy of the repository's packages; remove them after.

    Raises:
        TreeError: there is no repository, or it has no such revision.
    """
    found = resolve(repository, revision)
    with tempfile.TemporaryDirectory(prefix="attention-duet-") as scratch:
        base, candidate = Path(scratch) / BASE, Path(scratch) / CANDIDATE
        _git(repository, "worktree", "prune")
        _git(repository, "worktree", "add", "--detach", "--force", str(base), found)
        try:
            for package in PACKAGES:
                shutil.copytree(
                    repository / package,
                    candidate / package,
                    ignore=shutil.ignore_patterns("__pycache__"),
                )
            compile_all(base, candidate)
            yield Trees(base=base, candidate=candidate, revision=found)
        finally:
            _git(repository, "worktree", "remove", "--force", str(base))


def resolve(repository: Path, revision: str) -> str:
    """Return the full name of a revision.

    Raises:
        TreeError: there is none, or no repository.
    """
    if not (repository / ".git").exists():
        raise TreeError(f"{repository} is no git checkout: a duet takes its base from one")
    try:
        return _git(
            repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"
        ).strip()
    except TreeError as error:
        raise TreeError(f"{revision!r} is no revision of this repository") from error


def show(repository: Path, revision: str, file: Path) -> str | None:
    """Return a file as it was in a revision; None where it was not."""
    try:
        inside = file.resolve().relative_to(repository.resolve())
        return _git(repository, "show", f"{revision}:{inside.as_posix()}")
    except (TreeError, ValueError):
        return None


def compile_all(*trees: Path) -> None:
    """Compile the packages of trees, so that no process pays for it or keeps what it leaves."""
    for tree in trees:
        for package in PACKAGES:
            compileall.compile_dir(tree / package, quiet=2)


def environ(tree: Path, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment in which `python -m harness.worker` imports the packages of a tree."""
    own = dict(os.environ if given is None else given)
    # Without the second the folder that we stand in would go first.
    return {**own, "PYTHONPATH": str(tree), "PYTHONSAFEPATH": "1"}


def _git(repository: Path, *words: str) -> str:
    command = ("git", "--no-optional-locks", "-C", str(repository), *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise TreeError("a duet needs git, and there is none") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip().splitlines()
        raise TreeError(f"git {words[0]}: {said[-1] if said else 'failed'}") from error
    return done.stdout
