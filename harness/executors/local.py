"""Measures on this machine: one fork server, one fresh process for each cell.

Cells are measured one at a time, or a few together that take turns (`together`).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from harness.codec import decode, encode
from harness.schema import Environment, Job, Outcome, Result
from harness.sitting import Answer, Party, core_of, sit

# Spinning OpenMP threads would be billed as processor time, and glibc's moving mmap threshold
# makes the same cell two or three times slower or not by what ran before: both are pinned before
# torch is loaded. Thresholds lie above any cell, or the length at which a block crosses them (1 GiB
# of scores at 8k tokens, say) would look like the mechanism's own growth. The memory pass sets the
# allocator for its own purpose, in a process of its own.
SETTINGS = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 40),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 41),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
_FAREWELL_S = 5.0


class WorkerError(RuntimeError):
    """The fork server could not do what is needed before any cell can be measured."""


class Branch:
    """A fork server at the other end of a socket."""

    def __init__(self, server: socket.socket | None = None) -> None:
        self._socket = server
        self._lines: IO[bytes] | None = None if server is None else server.makefile("rb")

    def execute(
        self, job: Job, on_stage: Callable[[str], None]
    ) -> tuple[Result, Environment | None]:
        """Measure one cell; every way it can end is a result.

        Blocks in a read while the cell runs, so that the office takes no processor time from it.
        """
        begin = time.perf_counter_ns()
        self._send({"do": "cell", "job": encode(job)})
        for message in self._messages():
            if "stage" in message:
                on_stage(message["stage"])
            else:
                result = decode(Result, message["result"])
                environment = message["environment"]
                return (
                    replace(result, wall_ns=time.perf_counter_ns() - begin),
                    decode(Environment, environment) if environment else None,
                )
        result = Result(
            cell=job.cell,
            outcome=Outcome.CRASHED,
            reason=f"the worker's server {self._death()}",
            wall_ns=time.perf_counter_ns() - begin,
        )
        return result, None

    def close(self) -> None:
        """Hang up: the server leaves and, with it, whatever it is measuring."""
        if self._socket is not None:
            with suppress(OSError):  # it may have hung up before us
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes up who reads in another thread
            self._socket.close()
        if self._lines is not None:
            self._lines.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._socket is not None
        # If it just died, the reader finds the end of the stream and says how.
        with suppress(BrokenPipeError):
            self._socket.sendall(json.dumps(message, allow_nan=False).encode() + b"\n")

    def _messages(self) -> Iterator[dict[str, Any]]:
        assert self._lines is not None
        for line in self._lines:
            yield json.loads(line)

    def _death(self) -> str:
        """Say how the server ended, after its stream has."""
        return "hung up"


class Local(Branch):
    """Starts the fork server when it is first needed and again if it dies."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._environ = dict(os.environ if environ is None else environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._sittings = 0

    def devices(self) -> list[str]:
        """Return the devices that cells may name on this machine, the preferred one first.

        Raises:
            WorkerError: torch cannot be loaded.
        """
        return list(self._request({"do": "probe"}, "devices"))

    def check(self, jobs: Sequence[Job]) -> list[str | None]:
        """Return for each job why it can never be measured, or None; measures nothing.

        Raises:
            WorkerError: the check itself died.
        """
        return list(self._request({"do": "check", "jobs": encode(jobs)}, "problems"))

    def examine(self) -> dict[str, Any]:
        """Return what this machine looks like to somebody who wants quiet measurements.

        Raises:
            WorkerError: the examination died.
        """
        return dict(self._request({"do": "examine"}, "examination"))

    def branch(self) -> Branch:
        """Return another fork server, forked from this one: it can measure at the same time.

        Raises:
            WorkerError: the server died meanwhile.
        """
        with (
            tempfile.TemporaryDirectory(prefix="ah-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door,
        ):
            address = str(Path(folder) / "s")
            door.bind(address)
            door.listen(1)
            door.settimeout(_FAREWELL_S)
            self._request({"do": "branch", "address": address}, "branched")
            return Branch(door.accept()[0])

    def together(
        self, jobs: Sequence[Job], name: str, on_stage: Callable[[str], None]
    ) -> list[Answer]:
        """Measure cells in turns, see `harness.sitting`; every way one can end is a result."""
        core = core_of(jobs, self._sittings)
        self._sittings += 1
        with ExitStack() as stack:
            branches = [self.branch() for _ in jobs]
            for branch in branches:
                stack.callback(branch.close)
            parties = [
                Party(execute=branch.execute, job=job)
                for branch, job in zip(branches, jobs, strict=True)
            ]
            return sit(parties, name=name, core=core, on_stage=on_stage)

    def close(self) -> None:
        """End the server and, with it, whatever it is measuring."""
        process, self._process = self._process, None
        super().close()
        if process is None:
            return
        try:
            process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _request(self, request: Mapping[str, Any], key: str) -> Any:
        self._send(request)
        for message in self._messages():
            if key in message:
                return message[key]
            raise WorkerError(f"the worker cannot {request['do']}: {message.get('failed')}")
        raise WorkerError(f"the worker's server {self._death()}")

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is None or self._process.poll() is not None:
            self._start()
        super()._send(message)

    def _start(self) -> None:
        self.close()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.worker", str(theirs.fileno())],
                env={**self._environ, **SETTINGS},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        self._socket, self._lines = ours, ours.makefile("rb")

    def _death(self) -> str:
        """Say how the server ended, after its stream has."""
        assert self._process is not None
        status = self._process.wait(_FAREWELL_S)
        if status < 0:
            return f"died by {signal.Signals(-status).name}"
        return f"left with exit code {status}"


EXECUTOR = Local
