"""`python -m harness.worker.lawyer FILE`: tries the laws on a variant's file, as JSON lines."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from models.catalog import BrokenFileError
from models.laws import LAWS, Broken, Case, cases, forms, refusal
from models.variant import VARIANTS, Unsupported, Variant

Told = dict[str, str]


def examine(file: Path) -> Iterator[Told]:
    """Yield a finding for the file, and one for every law and form of its variant.

    An error in the file is told with the line of the file where it happened.
    """
    name = file.stem
    try:
        shelf = VARIANTS if _is_ours(file) else VARIANTS.with_files(file)
        variant = shelf.load(name)
    except Exception as error:  # noqa: BLE001 - whatever a file does on import is its finding
        yield _told("", "the file can be imported", "error", _words(error, file))
        return
    wrong = _misshapen(variant, shelf.summary(name))
    yield _told("", "the file says what it is", "broken" if wrong else "holds", wrong)
    if not isinstance(variant, Variant) or "reference" not in variant.impls:
        return
    for form in forms(name, variant):
        yield from _form(form, file)
    if not any(True for _ in cases(name, variant)):
        yield _told("", "some form can run here", "broken", "none can")


def _form(form: Case, file: Path) -> Iterator[Told]:
    def first() -> None:
        reason = refusal(form)
        if reason is not None:
            raise Unsupported(reason)

    runs = _try(str(form), "it can be built and run", first, file)
    yield runs
    if runs["outcome"] == "holds":
        for law in LAWS:
            yield _try(str(form), str(law), lambda law=law: law.check(form), file)


def _try(form: str, law: str, attempt: Callable[[], None], file: Path) -> Told:
    try:
        attempt()
    except Unsupported as reason:
        return _told(form, law, "unsupported", str(reason))
    except Broken as found:
        return _told(form, law, "broken", str(found))
    except Exception as error:  # noqa: BLE001 - an error of the file is a finding
        return _told(form, law, "error", _words(error, file))
    return _told(form, law, "holds", "")


def _misshapen(variant: Any, summary: str) -> str:
    """Return what is wrong with what a file says of itself; empty if nothing."""
    if not isinstance(variant, Variant):
        return f"VARIANT is a {type(variant).__name__}; it is models.variant.Variant(...)"
    if "reference" not in variant.impls:
        return f"impls: {variant.impls}; one of them is 'reference', the specification"
    if not summary.strip():
        return "its first line is no docstring: `list variants` would print nothing"
    return ""


def _words(error: Exception, file: Path) -> str:
    """Return an error and the last line of the file that took part in it."""
    if isinstance(error, BrokenFileError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    place = f"{file}:{lines[-1]}: " if lines else ""
    text = str(error).partition("\n")[0]
    return f"{place}{type(error).__name__}: {text}"


def _is_ours(file: Path) -> bool:
    return file.stem in VARIANTS.names() and VARIANTS.file(file.stem) == file


def _told(form: str, law: str, outcome: str, detail: str) -> Told:
    return {"form": form, "law": law, "outcome": outcome, "detail": detail}


def main(file: Path) -> None:
    """Write the findings on a file to standard output."""
    for told in examine(file.resolve()):
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
