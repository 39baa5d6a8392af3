"""Pieces of work side by side, each in a forked process of its own, on a CPU."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from harness.worker import limits

Work = Callable[[], Any]  # returns what JSON can carry


class LostError(RuntimeError):
    """A process died or failed; the message says which and how."""


def run(works: Sequence[Work], at_once: int) -> list[Any]:
    """Return what each piece of work returns, in their order.

    With `at_once` 1, or a single piece, it is done here. A process that fails ends all others.

    Raises:
        LostError: a process died without an answer.
        MemoryError: one ran out of memory.
    """
    if at_once <= 1 or len(works) <= 1:
        return [work() for work in works]
    answers: dict[int, Any] = {}
    running: dict[int, tuple[int, int]] = {}  # pipe -> process, number of the work
    buffers: dict[int, bytes] = {}
    waiting = list(enumerate(works))[::-1]
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, work = waiting.pop()
                reader, pid = _start(work)
                running[reader], buffers[reader] = (pid, number), b""
            for reader in select.select(list(running), [], [])[0]:
                chunk = os.read(reader, 1 << 16)
                buffers[reader] += chunk
                if chunk:
                    continue
                pid, number = running.pop(reader)
                os.close(reader)
                answers[number] = _answer(pid, buffers.pop(reader))
    finally:
        for reader, (pid, _) in running.items():
            os.close(reader)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    return [answers[number] for number in range(len(works))]


def _start(work: Work) -> tuple[int, int]:
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        os.close(writer)
        return reader, pid
    os.close(reader)
    code = 1
    try:
        limits.die_with_parent()
        try:
            said = {"answer": work()}
        except MemoryError as error:
            said = {"memory": str(error)}
        except Exception as error:  # noqa: BLE001 - told to the parent, which raises it again
            traceback.print_exc()
            said = {"failed": f"{type(error).__name__}: {error}"}
        data = json.dumps(said, allow_nan=False).encode()
        while data:
            data = data[os.write(writer, data) :]
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here: its log is all that is left
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _answer(pid: int, data: bytes) -> Any:
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not data:
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with exit code {status}"
        raise LostError(f"a training process died {how}")
    said = json.loads(data)
    if "memory" in said:
        raise MemoryError(said["memory"])
    if "failed" in said:
        raise LostError(said["failed"])
    return said["answer"]
