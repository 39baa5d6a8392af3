"""The fork server: it has imported torch once and forks a fresh process for every cell.

It speaks JSON lines over a socket. Requests: `{"do": "probe"}`, `{"do": "examine"}`, `{"do":
"check", "jobs": [...]}`, `{"do": "cell", "job": {...}}`, `{"do": "branch", "address": path}`.
Answers: `{"stage": name}` while a cell is at work, then one `{"result": {...}, "environment":
{...}}`; or `{"devices": [...]}`, `{"examination": {...}}`, `{"problems": [...]}`, `{"branched":
pid}`. It never touches CUDA and never starts a thread pool, because neither survives a fork;
whatever may do so runs in a child. A branch is a second server, forked from this one, that serves
on a connection of its own until that is closed.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import socket
import tempfile
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.codec import decode, encode
from harness.schema import Environment, Job, Measurement, Outcome, Result
from harness.worker import child, failure, limits
from harness.worker.child import AbandonedError, Ending, Event

CHECK_TIMEOUT_S = 120.0


def serve(office: socket.socket) -> None:
    """Answer requests until the office hangs up."""
    _warm_up()
    _serve(office)


def _serve(office: socket.socket) -> None:
    with tempfile.TemporaryDirectory(prefix="attention-harness-") as scratch:
        log = Path(scratch) / "worker.log"
        with office.makefile("rb") as lines:
            for line in lines:
                request = json.loads(line)
                try:
                    answer = _answer(request, office, log)
                except AbandonedError:
                    return
                _say(office, answer)


def _warm_up() -> None:
    """Import what every cell needs, so that no cell pays for it."""
    import torch._dynamo  # noqa: F401, PLC0415 - optimizers import it at their first step

    from harness.worker import measure, workload  # noqa: F401, PLC0415 - after the socket is up
    from harness.worker.metric import METRICS  # noqa: PLC0415

    workload.preload()
    for name in METRICS.names():
        METRICS.load(name)
    # Objects made so far move out of the collector's sight: children then neither walk nor copy
    # them (a full collection takes 0.5 s otherwise).
    gc.collect()
    gc.freeze()


def _answer(request: dict[str, Any], office: socket.socket, log: Path) -> dict[str, Any]:
    if request["do"] == "probe":
        return _ask(_probe, office, log)
    if request["do"] == "examine":
        return _ask(_examine, office, log)
    if request["do"] == "branch":
        return {"branched": _branch(request["address"], office)}
    if request["do"] == "check":
        jobs = [decode(Job, job) for job in request["jobs"]]
        return _ask(lambda emit: _check(jobs, emit), office, log)
    return _cell(decode(Job, request["job"]), office, log)


def _branch(address: str, office: socket.socket) -> int:
    """Fork a server that calls at an address of the office; return its process id."""
    with suppress(ChildProcessError):  # no cell is at work: what has ended are earlier branches
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    pid = os.fork()
    if pid:
        return pid
    try:
        limits.die_with_parent()
        os.close(office.fileno())  # the office must see when the first server's end closes
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
            own.connect(address)
            _serve(own)
    except BaseException:  # noqa: BLE001 - the process ends here, in the middle of another's stack
        traceback.print_exc()
    finally:
        os._exit(0)


def _ask(work: child.Work, office: socket.socket, log: Path) -> dict[str, Any]:
    """Do quick work in a child and merge its events into one answer."""
    answer: dict[str, Any] = {}
    ending = child.run(
        work, timeout_s=CHECK_TIMEOUT_S, log=log, on_event=answer.update, office=office
    )
    if not answer:
        death = failure.of_death(ending.status, ending.log_tail, oom_killed=ending.oom_killed)
        return {"failed": death.reason}
    return answer


def _probe(emit: Callable[[Event], None]) -> None:
    from harness.worker.device import devices  # noqa: PLC0415 - imports of the child's own

    emit({"devices": devices()})


def _examine(emit: Callable[[Event], None]) -> None:
    from harness.worker.examination import examine  # noqa: PLC0415

    emit({"examination": examine()})


def _check(jobs: list[Job], emit: Callable[[Event], None]) -> None:
    from harness.worker.workload import check  # noqa: PLC0415

    emit({"problems": [check(job) for job in jobs]})


def _cell(job: Job, office: socket.socket, log: Path) -> dict[str, Any]:
    heard = _Heard(job)

    def on_event(event: Event) -> None:
        heard.take(event)
        _learn(job, event)
        if "stage" in event:
            _say(office, {"stage": event["stage"]})

    _preload(job)
    ending = child.run(
        lambda emit: _work(job, emit),
        timeout_s=job.protocol.timeout_s,
        log=log,
        on_event=on_event,
        office=office,
    )
    result = heard.result(ending)
    if result.outcome is not Outcome.OK and job.artifacts and log.stat().st_size:
        folder = Path(job.artifacts)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(log, folder / "worker.log")
    return {"result": encode(result), "environment": encode(heard.environment)}


def _learn(job: Job, event: Event) -> None:
    """Remember the device's peak rates here: every later child inherits them."""
    from harness.worker import peaks  # noqa: PLC0415

    rates = event.get("facts", {}).get("peaks")
    if rates is not None and rates["unknown"] is None:
        peaks.learn(peaks.key(job.cell), rates)


def _preload(job: Job) -> None:
    """Read the corpus here, once: every child inherits it."""
    from harness.worker import corpus  # noqa: PLC0415

    with suppress(OSError, ValueError):  # the child meets the same fault and reports it
        corpus.load(job.data_path)


def _work(job: Job, emit: Callable[[Event], None]) -> None:
    from harness.worker.measure import measure  # noqa: PLC0415

    emit({"facts": {"available_bytes": limits.available_bytes()}})
    if job.cell.device == "cpu":
        budget = limits.limit_memory(job.protocol.memory_limit_bytes)
        emit({"facts": {"memory_limit_bytes": budget}})
    measure(job, emit)


class _Heard:
    """What a child has told so far; whatever happens to it, this is not lost."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._measurements: list[Measurement] = []
        self._facts: dict[str, Any] = {}
        self.environment: Environment | None = None
        self._stage: str | None = None
        self._measured_ns = 0
        self._end: Event | None = None

    def take(self, event: Event) -> None:
        """Remember one event."""
        if "measurement" in event:
            self._measurements.append(decode(Measurement, event["measurement"]))
        if "environment" in event:
            self.environment = decode(Environment, event["environment"])
        self._facts |= event.get("facts", {})
        self._stage = event.get("stage", self._stage)
        self._measured_ns = event.get("measured_ns", self._measured_ns)
        if "outcome" in event:
            self._end = event

    def result(self, ending: Ending) -> Result:
        """Return the cell's result, with the child's last word or, failing that, its death."""
        if self._end is not None:
            end = {**self._end, "outcome": Outcome(self._end["outcome"])}
        else:
            end = encode(self._death(ending))
        wrong = end["outcome"] == Outcome.WRONG
        return Result(
            cell=self._job.cell,
            measurements=() if wrong else tuple(self._measurements),
            facts=self._facts,
            environment=self.environment.id if self.environment else None,
            stage=None if end["outcome"] == Outcome.OK else self._stage,
            measured_ns=self._measured_ns,
            **end,
        )

    def _death(self, ending: Ending) -> failure.Failure:
        if ending.timed_out:
            limit = self._job.protocol.timeout_s
            return failure.Failure(
                outcome=Outcome.TIMEOUT, reason=f"killed after {limit:g} s, in {self._stage}"
            )
        return failure.of_death(ending.status, ending.log_tail, oom_killed=ending.oom_killed)


def _say(office: socket.socket, message: dict[str, Any]) -> None:
    try:
        office.sendall(json.dumps(message, allow_nan=False).encode() + b"\n")
    except BrokenPipeError as error:
        raise AbandonedError from error


def main(descriptor: int) -> None:
    """Serve on an inherited socket; leave when its other end closes or the office dies."""
    limits.die_with_parent()
    if os.getppid() == 1:  # the office died before the line above
        return
    with socket.socket(fileno=descriptor) as office:
        serve(office)
