"""What tests of several rooms share."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

import psutil
import pytest


@pytest.fixture
def until_gone() -> Callable[[Iterable[int]], None]:
    """Wait until killed processes are gone, or zombies that their new parent has yet to reap."""

    def wait(pids: Iterable[int]) -> None:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                while process.status() != psutil.STATUS_ZOMBIE:
                    os.sched_yield()

    return wait
