"""The laws on a variant's file, tried in a process of its own, told one by one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOLDS, UNSUPPORTED, BROKEN, ERROR = "holds", "unsupported", "broken", "error"
FAULTY = frozenset({BROKEN, ERROR})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one law for one form of a variant."""

    form: str  # `name.impl, causal`; empty for the file as a whole
    law: str
    outcome: str  # holds, unsupported, broken or error
    detail: str = ""  # what was found, and in which line of the file


def check(file: Path) -> Iterator[Finding]:
    """Yield the findings on a file as they come.

    The process imports the file, and torch; this one imports neither.
    """
    command = [sys.executable, "-m", "harness.worker.lawyer", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):  # a file may print things of its own
                yield Finding(**json.loads(line))
    if process.returncode:
        yield Finding(
            form="",
            law="the laws are tried to their end",
            outcome=ERROR,
            detail=f"the process that tried them left with {process.returncode}",
        )
