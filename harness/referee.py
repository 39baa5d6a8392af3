"""The referee of a sitting: lets processes be timed one at a time, some milliseconds each.

The wire. The referee listens on a Unix stream socket. A party opens it when it begins, sends
`<seat> <pid>` and a newline, and the byte `r` once it is built and warmed up. From then on it reads
one byte for each turn, times for some milliseconds, and answers with one byte: `m`, it needs more
turns; `e`, it has enough, but takes more while others need some; `l`, it takes no more. When nobody
needs more, the referee hangs up, which is the end of the turns. Waiting is a read: it takes no
processor time.
"""

from __future__ import annotations

import os
import random
import select
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

TURN, READY, MORE, ENOUGH, LEAVES = b"t", b"r", b"m", b"e", b"l"


class Referee:
    """Gives turns in random order, round after round, to those who are there.

    Args:
        seats: parties to wait for.
        timeout_s: of one turn; until all are ready, of each seat one after the other.
        seed: of the order of turns.
        clock: seconds, from any origin.
    """

    def __init__(
        self,
        seats: int,
        *,
        timeout_s: float,
        seed: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._chance = random.Random(seed)
        self._expected = set(range(seats))  # not ready, and not known to be gone
        self._ready: dict[int, socket.socket] = {}
        self._pids: dict[int, int] = {}
        self._gone: set[int] = set()
        self._guard = threading.Lock()
        self._bell, self._rope = socket.socketpair()
        self._folder = tempfile.mkdtemp(prefix="ah-")  # a socket's path has a hundred characters
        self.address = str(Path(self._folder) / "s")
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(self.address)
        self._door.listen(seats)
        self.timed_out: set[int] = set()  # seats whose process was killed

    def gone(self, number: int) -> None:
        """Take note, from any thread, that a party has ended, whether it ever came or not."""
        with self._guard, suppress(OSError):
            self._gone.add(number)
            self._rope.send(b"!")

    def preside(self) -> None:
        """Wait for all, give turns until nobody needs more, hang up."""
        self._gather()
        playing, needy = set(self._ready), set(self._ready)
        while needy & playing:
            for number in self._chance.sample(sorted(playing), len(playing)):
                answer = self._turn(number)
                if answer != MORE:
                    needy.discard(number)
                if answer not in (MORE, ENOUGH):
                    playing.discard(number)
        self._hang_up(self._ready.values())

    def close(self) -> None:
        """Hang up on everybody and leave nothing behind."""
        self._hang_up(self._ready.values())
        with self._guard:
            for each in (self._door, self._bell, self._rope):
                each.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _gather(self) -> None:
        """Wait until each party is ready or gone; kill those who take too long."""
        deadline = self._clock() + self._timeout_s * len(self._expected)
        unready: dict[socket.socket, int | None] = {}
        while self._expected:
            left = max(deadline - self._clock(), 0)
            found, _, _ = select.select([self._door, self._bell, *unready], [], [], left)
            if not found and not left:
                for number in self._expected:
                    self._kill(number)
                break
            if self._door in found:
                unready[self._door.accept()[0]] = None
            for caller in unready.keys() & set(found):
                self._hear(caller, unready)
            if self._bell in found:
                self._bell.recv(1024)
                self._expected -= self._gone
        self._hang_up(unready)

    def _hear(self, caller: socket.socket, unready: dict[socket.socket, int | None]) -> None:
        """Take what a party says before its first turn: who it is, that it is ready, nothing."""
        number, said = unready[caller], caller.recv(64)
        if said and number is None:
            hello, _, said = said.partition(b"\n")
            number, pid = map(int, hello.split())
            self._pids[number], unready[caller] = pid, number
            if not said:
                return
        del unready[caller]
        if number in self._expected:
            self._expected.discard(number)
            if said == READY:
                self._ready[number] = caller
                return
        caller.close()  # it has left

    def _turn(self, number: int) -> bytes:
        """Let a party have its turn; return its answer, nothing if it died or was killed."""
        party = self._ready[number]
        try:
            party.sendall(TURN)
            found, _, _ = select.select([party], [], [], self._timeout_s)
            if found:
                return party.recv(1)
        except OSError:
            return b""
        self._kill(number)
        return b""

    def _kill(self, number: int) -> None:
        pid = self._pids.get(number)
        if pid is not None:
            self.timed_out.add(number)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _hang_up(self, parties: Iterable[socket.socket]) -> None:
        for party in parties:
            party.close()
