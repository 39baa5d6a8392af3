"""While a cell is measured, office and fork server wait in the kernel: they take no processor."""

import os
import resource
from contextlib import closing

import psutil

from harness.executors.local import Local
from harness.floor import CELL
from harness.schema import Job, Outcome, Protocol

SHARE = 0.01  # of the cell's own processor time


def test_the_office_takes_less_than_a_hundredth_of_a_cell_and_the_server_does_not_spin() -> None:
    """Processor time, not wall time: it does not depend on what else the machine does."""
    # So many samples, not so many seconds: on a busy machine a second of the wall holds little.
    protocol = Protocol(min_samples=200, max_samples=200, min_time_s=0.0, max_time_s=250.0)
    job = Job(cell=CELL, metrics=("latency",), protocol=protocol)
    with closing(Local()) as executor:
        executor.execute(job, lambda _stage: None)  # the server is up and has read the corpus
        (server,) = [p for p in psutil.Process(os.getpid()).children() if p.is_running()]
        before = (resource.getrusage(resource.RUSAGE_SELF), server.cpu_times())
        result, _ = executor.execute(job, lambda _stage: None)
        after = (resource.getrusage(resource.RUSAGE_SELF), server.cpu_times())
    assert result.outcome is Outcome.OK, result.reason
    (latency,) = [m for m in result.measurements if m.metric == "latency"]
    cell_s = sum(latency.samples) / 1e9
    office_s = sum(getattr(after[0], k) - getattr(before[0], k) for k in ("ru_utime", "ru_stime"))
    # Fork and reaping are the server's, paid once a cell however long it lasts, and dearer on a
    # busy machine; a server that spins while it waits would take as long as the cell.
    server_s = sum(getattr(after[1], k) - getattr(before[1], k) for k in ("user", "system"))
    assert office_s < SHARE * cell_s
    assert server_s < cell_s / 4
