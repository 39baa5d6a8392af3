"""A sitting: processes of several contenders are alive together and are timed in turns.

Two launches of the same program differ by several per cent when one follows the other: the clock
of the processor, the neighbours and the kernel have moved on. Here every party gets a turn of some
milliseconds, then the next, on the same core, round after round, so that whatever disturbs one
disturbs all. The launch stays the unit: the samples of one sitting make one pair of launches, and
it takes several sittings to tell luck from difference.

The parties may come from different executors: `sit([Party(execute=a, job=x), Party(execute=b,
job=y)], name=...)` pairs one job of each of two source trees, say. Jobs are later launches
(`launch` of at least 1) that only time and prove; any process that keeps the rules of
`harness.referee` can take part.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from harness.referee import Referee
from harness.schema import Environment, Job, Outcome, Result, Seat

Answer = tuple[Result, Environment | None]
Execute = Callable[[Job, Callable[[str], None]], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One job of a sitting and who measures it.

    `execute` is called in a thread of its own, while those of the other parties run: give each
    party an executor of its own, such as a `Local` for each tree or what `Local.branch()` returns.
    """

    execute: Execute
    job: Job


def sit(
    parties: Sequence[Party],
    *,
    name: str,
    core: int | None = None,
    on_stage: Callable[[str], None] = lambda _: None,
) -> list[Answer]:
    """Measure the parties' jobs in turns and return their results in the order given.

    Whatever happens to one party costs its own result only: who dies, or cannot be built, is left
    out of the turns; who does not end a turn within its `timeout_s` is killed and timed out.
    Measurements carry the sitting's name: `Measurement.by_sitting` finds the pairs.

    Args:
        parties: at least one.
        name: of the sitting, unique in a run; it seeds the order of turns as well.
        core: processor on which all are timed; None: wherever the system puts them.
        on_stage: hears the first party's stages.

    Raises:
        Exception: what an `execute` raised; the other parties have ended then.
    """
    answers: dict[int, Answer] = {}
    faults: list[Exception] = []
    limit = max(party.job.protocol.timeout_s for party in parties)

    def attend(number: int, party: Party) -> None:
        seat = Seat(
            sitting=name, address=referee.address, number=number, of=len(parties), core=core
        )
        try:
            hear = on_stage if number == 0 else _deaf
            answers[number] = party.execute(replace(party.job, seat=seat), hear)
        except Exception as error:  # noqa: BLE001 - it is raised again where somebody waits for it
            faults.append(error)
        finally:
            referee.gone(number)

    with closing(Referee(len(parties), timeout_s=limit, seed=name)) as referee:
        threads = [
            threading.Thread(target=attend, args=each, daemon=True) for each in enumerate(parties)
        ]
        for thread in threads:
            thread.start()
        referee.preside()
        for thread in threads:
            thread.join()
    if faults:
        raise faults[0]
    return [_judged(answers[i], i in referee.timed_out, limit) for i in range(len(parties))]


def core_of(jobs: Sequence[Job], number: int) -> int | None:
    """Return the processor for a sitting: each of ours in turn; None for more than one thread.

    Two processors of a machine are not equally fast: one has a busier neighbour, or another clock.
    """
    if any(job.cell.threads > 1 or job.cell.device != "cpu" for job in jobs):
        return None
    if not hasattr(os, "sched_getaffinity"):
        return None
    ours = sorted(os.sched_getaffinity(0))
    return ours[number % len(ours)]


def _judged(answer: Answer, timed_out: bool, limit_s: float) -> Answer:
    """Return an answer; whom the referee killed has run out of time, whatever it looks like."""
    result, environment = answer
    if not timed_out:
        return answer
    reason = f"killed after {limit_s:g} s without an answer, in {result.stage}"
    return replace(result, outcome=Outcome.TIMEOUT, reason=reason), environment


def _deaf(_: str) -> None:
    pass
