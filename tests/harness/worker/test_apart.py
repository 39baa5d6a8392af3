"""Laws of a pass in a process of its own; each is run from a small process without torch."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import os, signal, sys
from harness.worker import apart

def ends_well():
    {body}

try:
    apart.run(ends_well)
    print("done", os.getpid() == {me})
except apart.ToldError:
    print("told")
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(body=body, me="os.getpid()")
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )


def test_a_pass_that_ends_well_lets_the_cell_go_on() -> None:
    assert run("return True").stdout == "done True\n"


def test_a_pass_that_told_its_failure_ends_the_cell_without_a_second_word() -> None:
    done = run("return False")
    assert (done.returncode, done.stdout) == (0, "told\n")


@pytest.mark.parametrize("code", [1, 7, 9])
def test_a_pass_that_leaves_takes_the_cell_with_it(code: int) -> None:
    assert run(f"os._exit({code})").returncode == code


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_pass_that_dies_by_a_signal_is_the_death_of_the_cell(name: str) -> None:
    done = run(f"os.kill(os.getpid(), signal.{name})")
    assert done.returncode == -signal.Signals[name]


def test_an_exception_that_nobody_took_is_printed() -> None:
    done = run("raise SystemError('torn')")
    assert done.returncode == 1
    assert "SystemError: torn" in done.stderr
