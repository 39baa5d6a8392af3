"""Laws of the fences around a cell's process."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from harness.worker import limits

linux = pytest.mark.skipif(sys.platform != "linux", reason="address-space limits need Linux")
SCRIPT = """
from harness.worker import limits
limits.limit_memory({budget})
kept = bytearray({size})
print(len(kept))
"""


def allocate(size: int, budget: int) -> subprocess.CompletedProcess[str]:
    script = SCRIPT.format(size=size, budget=budget)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


@linux
def test_what_fits_the_budget_is_allocated() -> None:
    assert allocate(100 << 20, 256 << 20).stdout.strip() == str(100 << 20)


@linux
def test_what_exceeds_the_budget_fails_in_the_process_that_asked() -> None:
    done = allocate(300 << 20, 256 << 20)
    assert done.returncode == 1
    assert "MemoryError" in done.stderr


def test_a_cgroup_with_less_than_the_machine_decides(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("400\n")
    assert limits.available_bytes(tmp_path) == 600


@pytest.mark.parametrize("text", ["max\n", ""])
def test_a_cgroup_without_a_limit_leaves_it_to_the_machine(tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.max").write_text(text)
    (tmp_path / "memory.current").write_text("400\n")
    assert limits.available_bytes(tmp_path) > 1000
    assert limits.available_bytes(tmp_path / "none") <= psutil.virtual_memory().total


def test_kills_are_counted_from_the_kernel_or_not_at_all(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgfault 7\noom_kill 3\n")
    assert limits.oom_kills(vmstat) == 3
    assert limits.oom_kills(tmp_path / "none") == 0
