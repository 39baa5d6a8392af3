"""When a process may time: always, or in its turns at a sitting with others.

The rules of the wire stand in `harness.referee`, on the other side of the hatch.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Protocol

from harness.schema import Seat

CHUNK_NS = 20_000_000  # of one turn: short against the changes of clocks and neighbours
TURN, READY, MORE, ENOUGH, LEAVES = b"t", b"r", b"m", b"e", b"l"


class Turns(Protocol):
    """The turns of this process."""

    shared: bool  # whether others are timed in between

    def ready(self) -> None:
        """Say that everything is built and warm: the next thing is timing."""
        ...

    def mine(self) -> bool:
        """Wait for the next turn; False: there will be none."""
        ...

    def end(self, stop: str | None) -> None:
        """End a turn and say why no more is needed, a word of `STOPS`; None: more is."""
        ...


class Alone:
    """Nobody else is timed: one turn that lasts until there is enough."""

    shared = False

    def __init__(self) -> None:
        self._over = False

    def ready(self) -> None:
        """Begin at once."""

    def mine(self) -> bool:
        """Return whether there is not enough yet."""
        return not self._over

    def end(self, stop: str | None) -> None:
        """Remember whether there is enough."""
        self._over = stop is not None


class Seated:
    """A place at a sitting. While others have their turns this process sleeps."""

    def __init__(self, seat: Seat) -> None:
        self._referee = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._referee.connect(seat.address)
        except OSError:
            self._referee.close()
            raise
        self._referee.sendall(f"{seat.number} {os.getpid()}\n".encode())
        self._core = seat.core
        self._before: set[int] = set()  # processors that this process may use otherwise
        self.shared = seat.of > 1

    def ready(self) -> None:
        """Move to the core of the sitting and say so."""
        self._before = pin(self._core)
        self._referee.sendall(READY)

    def mine(self) -> bool:
        """Wait for the referee, who hangs up when nobody needs more turns."""
        with suppress(ConnectionResetError):
            if self._referee.recv(1) == TURN:
                return True
        self._referee.close()
        if self._before:
            os.sched_setaffinity(0, self._before)
        return False

    def end(self, stop: str | None) -> None:
        """Hand the turn back."""
        word = MORE if stop is None else LEAVES if stop == "max_samples" else ENOUGH
        with suppress(BrokenPipeError):  # the office is gone: `mine` will see it
            self._referee.sendall(word)


def take(seat: Seat | None) -> Turns:
    """Return the turns of a seat, or of a process without one."""
    return Alone() if seat is None else Seated(seat)


def pin(core: int | None) -> set[int]:
    """Keep this process on one processor; return those it had, nothing where it cannot be done.

    Two processors of a machine are not equally fast: one has a busy neighbour, or another clock.
    """
    if core is None or not hasattr(os, "sched_setaffinity"):
        return set()
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {core})
    except OSError:  # not ours to use
        return set()
    return before
