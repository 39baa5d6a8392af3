"""The two sides of a duet as fork servers of two trees on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from harness.duet import Answer
from harness.executors.local import Local
from harness.schema import Job
from harness.sitting import Party, core_of, sit
from harness.trees import Trees, environ


class Servers:
    """A fork server for each tree, and one more of the base to time it against itself."""

    def __init__(self, trees: Trees, variables: Mapping[str, str] | None = None) -> None:
        """Take two trees; servers start when they are first needed.

        Args:
            trees: of the base and the candidate.
            variables: of the candidate's environment only.
        """
        self._trees = (trees.base, trees.candidate)
        self._variables: tuple[dict[str, str], dict[str, str]] = ({}, dict(variables or {}))
        self._servers: dict[tuple[int, int], Local] = {}  # by side and which of its servers
        self._sittings = 0

    def alone(self, side: int, job: Job) -> Answer:
        """Measure one job with the base (0) or the candidate (1)."""
        return self._server(side, 0).execute(job, _deaf)

    def together(self, sides: Sequence[int], job: Job, name: str) -> list[Answer]:
        """Time one job with each of these sides: in turns, or one after another if it says so."""
        servers = [
            self._server(side, list(sides[:place]).count(side)) for place, side in enumerate(sides)
        ]
        if job.protocol.pairing == "apart":
            return [server.execute(job, _deaf) for server in servers]
        self._sittings += 1
        parties = [Party(execute=server.execute, job=job) for server in servers]
        return sit(parties, name=name, core=core_of([job], self._sittings))

    def renew(self) -> None:
        """Start servers anew at their next job: the luck of a start is drawn again."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.renew()

    def _server(self, side: int, number: int) -> Local:
        server = self._servers.get((side, number))
        if server is None:
            server = self._servers[side, number] = Local(
                environ={**environ(self._trees[side]), **self._variables[side]}
            )
            # Here and now, in the thread that stays: a server dies with the thread that started it,
            # and those of a sitting end with it.
            server.devices()
        return server


def _deaf(_: str) -> None:
    pass


def longer(job: Job, launches: int) -> Job:
    """Return a job with another number of launches, each of which does as much as before."""
    old = job.protocol
    factor = launches / old.launches
    protocol = replace(
        old,
        launches=launches,
        min_samples=round(old.min_samples * factor),
        max_samples=round(old.max_samples * factor),
        min_time_s=old.min_time_s * factor,
        max_time_s=old.max_time_s * factor,
    )
    return replace(job, protocol=protocol)
