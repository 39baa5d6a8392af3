"""What an exception or a dead process means: one of the outcomes, in words, with numbers."""

from __future__ import annotations

import re
import signal
import traceback
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.schema import Outcome
from harness.worker.limits import OverBudgetError
from models.variant import Unsupported

_UNITS = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_ASKED = re.compile(r"(?:tried|Tried|Unable) to allocate ([\d.]+) ?(bytes|KiB|MiB|GiB|TiB)")
# What C++ and C libraries print when an allocation that nobody catches ends the process.
_NATIVE_OUT_OF_MEMORY = ("std::bad_alloc", "can't allocate memory", "Cannot allocate memory")


class WrongError(Exception):
    """Values or gradients differ from the reference by more than the tolerance."""


class DivergedError(Exception):
    """The loss or a score of a training is no number any more; the message says where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An outcome that is not `ok`, with its reason."""

    outcome: Outcome
    reason: str
    requested_bytes: int | None = None


def requested_bytes(message: str) -> int | None:
    """Return the size that a failed allocation asked for, where its message tells."""
    found = _ASKED.search(message)
    return int(float(found[1]) * _UNITS[found[2]]) if found else None


def of_exception(error: Exception) -> Failure:
    """Return what an exception of a cell means."""
    message = f"{error}".strip()
    if isinstance(error, WrongError):
        return Failure(outcome=Outcome.WRONG, reason=message)
    if isinstance(error, DivergedError):
        return Failure(outcome=Outcome.DIVERGED, reason=message)
    if isinstance(error, Unsupported):
        return Failure(outcome=Outcome.UNSUPPORTED, reason=message)
    if isinstance(error, OverBudgetError):
        return Failure(
            outcome=Outcome.OUT_OF_MEMORY, reason=message, requested_bytes=error.requested
        )
    if _is_out_of_memory(error, message):
        found = out_of_memory(message)
        places = getattr(error, "__notes__", ())  # where in the step, as instruments add it
        return replace(found, reason=", ".join([found.reason, *places]))
    return Failure(outcome=Outcome.ERROR, reason=f"{_where(error)}: {_first_line(error, message)}")


def out_of_memory(message: str) -> Failure:
    """Return the failure of an allocation, with the size that it asked for where known."""
    asked = requested_bytes(message)
    reason = "the host's memory limit was reached"
    if "CUDA" in message:
        reason = message.partition(". See documentation")[0].partition(" If reserved")[0]
    elif asked is not None:
        reason = f"tried to allocate {asked:,} bytes beyond the host's memory limit"
    return Failure(outcome=Outcome.OUT_OF_MEMORY, reason=reason, requested_bytes=asked)


def of_death(status: int, log_tail: str, *, oom_killed: bool) -> Failure:
    """Return what the end of a process means that gave no answer.

    Args:
        status: as `os.waitstatus_to_exitcode` gives it: negative for a signal.
        log_tail: the end of what the process printed.
        oom_killed: the kernel's count of out-of-memory kills rose while it ran.
    """
    if status == -signal.SIGKILL and oom_killed:
        reason = "killed by the kernel's out-of-memory killer"
        return Failure(outcome=Outcome.OUT_OF_MEMORY, reason=reason)
    if status < 0 and any(words in log_tail for words in _NATIVE_OUT_OF_MEMORY):
        return out_of_memory(log_tail)
    if status < 0:
        how = f"died by {signal.Signals(-status).name} (signal {-status})"
    else:
        how = f"left with exit code {status} and no answer"
    last = log_tail.strip().rpartition("\n")[2]
    return Failure(outcome=Outcome.CRASHED, reason=f"its process {how}" + f": {last}" * bool(last))


def _is_out_of_memory(error: Exception, message: str) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # torch's CPU allocator and C++ have no exception class of their own on the Python side.
    return isinstance(error, RuntimeError) and any(
        words in message for words in _NATIVE_OUT_OF_MEMORY
    )


def _where(error: Exception) -> str:
    """Return the last line outside of installed packages that took part: the caller's at fault."""
    frames = traceback.extract_tb(error.__traceback__)
    near = [frame for frame in frames if "site-packages" not in frame.filename] or frames
    return f"{Path(near[-1].filename).name}:{near[-1].lineno}" if near else "worker"


def _first_line(error: Exception, message: str) -> str:
    return f"{type(error).__name__}: {message.partition(chr(10))[0]}"
