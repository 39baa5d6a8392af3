"""One forked process for one piece of work, watched until it answers, dies or is killed.

The child writes its events as JSON lines into a pipe. The watcher blocks in `select`: it takes no
processor time from what is being measured.
"""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.worker import limits

Event = dict[str, Any]
Work = Callable[[Callable[[Event], None]], None]
LOG_TAIL_BYTES = 4000


class AbandonedError(Exception):
    """The office hung up or asked to stop while a child was at work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a child ended."""

    status: int  # exit code, or minus the signal
    timed_out: bool
    oom_killed: bool  # the kernel's out-of-memory killer struck while it ran
    log_tail: str  # the end of what it printed


def run(
    work: Work,
    *,
    timeout_s: float,
    log: Path,
    on_event: Callable[[Event], None],
    office: socket.socket,
) -> Ending:
    """Fork, do `work` in the child, pass on its events, and return how it ended.

    Args:
        work: called in the child with a function that sends an event.
        timeout_s: then the child and all of its descendants are killed. The event `{"patience_s":
            seconds}` starts this anew with another time; it is not passed on.
        log: file that takes whatever the child prints.
        on_event: called in the parent with each event.
        office: if it becomes readable or closes, the child is killed.

    Raises:
        AbandonedError: the office hung up or asked to stop.
    """
    kills = limits.oom_kills()
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _child(work, writer, log)  # never returns
    os.close(writer)
    with suppress(ProcessLookupError, PermissionError):
        os.setpgid(pid, pid)  # as the child does: whoever comes first
    timed_out, patience_s = False, 0.0
    try:
        for event in _events(reader, pid, office, timeout_s):
            on_event(event)
        patience_s = 1.0
    except TimeoutError:
        timed_out = True
    finally:
        os.close(reader)
        status = _end(pid, patience_s)
    tail = log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") if log.exists() else ""
    return Ending(
        status=status,
        timed_out=timed_out,
        oom_killed=limits.oom_kills() > kills,
        log_tail=tail,
    )


def _child(work: Work, writer: int, log: Path) -> None:
    """Do the work and leave without the interpreter's farewell, which would only cost time."""
    code = 1
    try:
        os.setpgid(0, 0)
        limits.die_with_parent()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with log.open("wb", buffering=0) as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a file descriptor is wanted
            os.dup2(nothing.fileno(), 0)
        faulthandler.enable()
        work(lambda event: _send(writer, event))
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends here: its log is all that is left
        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _send(writer: int, event: Event) -> None:
    data = json.dumps(event, allow_nan=False).encode() + b"\n"
    while data:
        data = data[os.write(writer, data) :]


class _Patience:
    """How long a child may go on; it may ask for another time."""

    def __init__(self, seconds: float) -> None:
        self.renew(seconds)

    def renew(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left_s(self) -> float:
        return self._end - time.monotonic()


def _events(reader: int, pid: int, office: socket.socket, timeout_s: float) -> Iterator[Event]:
    """Yield events until the child is dead or has closed its pipe."""
    patience = _Patience(timeout_s)
    for event in _heard(reader, pid, office, patience):
        if "patience_s" in event:
            patience.renew(event["patience_s"])
        else:
            yield event


def _heard(reader: int, pid: int, office: socket.socket, patience: _Patience) -> Iterator[Event]:
    buffer = b""
    with _child_signals() as wakeup:
        while (left := patience.left_s()) > 0:
            ready, _, _ = select.select([reader, office, wakeup], [], [], left)
            if reader in ready:
                chunk = os.read(reader, 1 << 16)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                yield from map(json.loads, lines)
            elif office in ready:
                raise AbandonedError
            elif wakeup in ready:
                wakeup.recv(1024)
                # A descendant may hold the pipe open after the child is gone: look at the child.
                if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    yield from _rest(reader, buffer)
                    return
    raise TimeoutError


def _rest(reader: int, buffer: bytes) -> Iterator[Event]:
    os.set_blocking(reader, False)
    with suppress(BlockingIOError):
        while chunk := os.read(reader, 1 << 16):
            buffer += chunk
    yield from map(json.loads, buffer.split(b"\n")[:-1])


@contextmanager
def _child_signals() -> Iterator[socket.socket]:
    """Give a socket that becomes readable when a child of this process dies."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup_before = signal.set_wakeup_fd(theirs.fileno())
    # A child that died before the handler stood sends no second signal: wake up once by hand.
    theirs.send(b"\0")
    try:
        yield ours
    finally:
        signal.set_wakeup_fd(wakeup_before)
        signal.signal(signal.SIGCHLD, before)
        ours.close()
        theirs.close()


def _end(pid: int, patience_s: float) -> int:
    """Kill what is left of the child's process group, reap the child, return its status.

    A child that closed its pipe to leave is given a moment to do so by itself, so that its own
    exit code is what we report.
    """
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        select.select([], [], [], 0.001)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
