"""One cell with every instrument: how the verb `profile` changes a plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.planning import Plan, PlanError

FIRST = "latency"  # before instruments that warm the device or fragment its memory
TRAINING = "quality"  # minutes, and only for a cell that has a task
MOST_NAMED = 12  # cells in a message


def one_cell(plan: Plan, instruments: Sequence[str]) -> Plan:
    """Return the plan of a run that measures one cell with every instrument.

    What the suite leaves out is no part of it, a cell without a task is not trained, and nothing is
    searched.

    Args:
        plan: of the suite; `--only` has to leave one cell.
        instruments: names of all metrics.

    Raises:
        PlanError: there are several cells, or none; the message names them.
    """
    if len(plan.jobs) != 1:
        ids = [job.cell.id for job in plan.jobs]
        named = ", ".join(ids[:MOST_NAMED]) + ", ..." * (len(ids) > MOST_NAMED)
        raise PlanError(f"profile takes one cell, and --only leaves {len(ids)}: {named}")
    (job,) = plan.jobs
    taken = [name for name in instruments if name != TRAINING or job.cell.task is not None]
    metrics = tuple(sorted(taken, key=lambda name: (name != FIRST, name)))
    protocol = replace(plan.header.protocol, launches=1, pairing="apart")
    header = replace(
        plan.header, metrics=metrics, protocol=protocol, cells=(job.cell,), gate={}, frontier=None
    )
    return Plan(header=header, jobs=(replace(job, metrics=metrics, protocol=protocol),))
