"""Laws of trees: a revision beside the code as it is, of equal paths, and nothing left behind."""

import subprocess
from pathlib import Path

import pytest

from harness import trees
from harness.trees import TreeError


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A checkout with two commits and an edit that nobody has committed."""
    folder = tmp_path / "repo"

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(("git", *who, "-C", folder, *words), check=True, capture_output=True)

    for package in trees.PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("AGE = 1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    (folder / "models" / "__init__.py").write_text("AGE = 2\n")
    git("commit", "-qam", "two")
    (folder / "models" / "__init__.py").write_text("AGE = 3\n")
    return folder


def test_a_revision_lies_beside_the_code_as_it_is_and_is_gone_after(repository: Path) -> None:
    with trees.side_by_side(repository, "HEAD~1") as both:
        ages = [
            (tree / "models" / "__init__.py").read_text() for tree in (both.base, both.candidate)
        ]
        assert ages == ["AGE = 1\n", "AGE = 3\n"]
        assert len(str(both.base)) == len(str(both.candidate))
        assert list((both.base / "models" / "__pycache__").iterdir())
        scratch = both.base.parent
    assert not scratch.exists()
    left = subprocess.run(
        ("git", "-C", repository, "worktree", "list"), capture_output=True, text=True, check=True
    )
    assert len(left.stdout.splitlines()) == 1


def test_it_is_gone_after_a_fault_too(repository: Path) -> None:
    context = trees.side_by_side(repository, "HEAD")
    scratch = context.__enter__().base.parent
    assert scratch.exists()
    assert not context.__exit__(KeyError, KeyError(), None)
    assert not scratch.exists()


def test_an_unknown_revision_and_no_repository_are_one_sentence(
    repository: Path, tmp_path: Path
) -> None:
    with pytest.raises(TreeError, match="'nowhere' is no revision"):
        trees.resolve(repository, "nowhere")
    with pytest.raises(TreeError, match="no git checkout"):
        trees.resolve(tmp_path, "HEAD")


def test_a_file_as_it_was(repository: Path) -> None:
    file = repository / "models" / "__init__.py"
    assert trees.show(repository, "HEAD~1", file) == "AGE = 1\n"
    assert trees.show(repository, "HEAD", repository / "none.yaml") is None
    assert trees.show(repository, "HEAD", Path("/elsewhere.yaml")) is None
