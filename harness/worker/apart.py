"""A pass in a process of its own, forked from the cell's before that has used its heap.

Memory is weighed with an allocator that gives back what is freed, time is taken with one that
keeps it: glibc can be told so once per process, from the environment or for good.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from harness.worker import limits

_DONE, _TOLD, _BROKEN = 0, 3, 1


class ToldError(Exception):
    """The pass failed and has told its outcome itself."""


def run(ends_well: Callable[[], bool]) -> None:
    """Fork, call `ends_well` in the new process, wait for it.

    A death of the new process is this process's death too, by the same signal or exit code, so
    that whoever watches this one sees what happened.

    Args:
        ends_well: does the pass; returns False if it failed and has told the outcome.

    Raises:
        ToldError: it returned False.
    """
    pid = os.fork()
    if pid == 0:
        code = _BROKEN
        try:
            limits.die_with_parent()
            code = _DONE if ends_well() else _TOLD
        except BaseException:  # noqa: BLE001 - the process ends here: its log is all that is left
            traceback.print_exc()
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == _TOLD:
        raise ToldError
    if status < 0:
        if -status != signal.SIGKILL:  # it has no handler to reset
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    if status != _DONE:
        os._exit(status)
