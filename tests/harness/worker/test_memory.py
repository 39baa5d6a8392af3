import sys
from pathlib import Path

import pytest
import torch

from harness.worker import memory
from harness.worker.memory import ProcessMemory, returned_heap, trim

MIB = 1 << 20
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's /proc")


def status(folder: Path, text: str, *, resettable: bool = True) -> ProcessMemory:
    (folder / "status").write_text(text)
    if not resettable:
        (folder / "clear_refs").mkdir()
    return ProcessMemory(proc=folder)


def test_sizes_are_read_in_bytes(tmp_path: Path) -> None:
    process = status(tmp_path, "VmPeak:\t 9 kB\nVmHWM:\t     300 kB\nVmRSS:\t     200 kB\n")
    assert (process.peak(), process.resident()) == (300 * 1024, 200 * 1024)


def test_what_the_kernel_does_not_tell_is_none(tmp_path: Path) -> None:
    assert status(tmp_path, "Name:\tx\n").peak() is None
    assert ProcessMemory(proc=tmp_path / "nowhere").resident() is None


def test_a_reset_writes_five_and_is_believed_only_if_the_mark_fell(tmp_path: Path) -> None:
    process = status(tmp_path, "VmHWM: 200 kB\nVmRSS: 200 kB\n")
    assert process.reset_peak()
    assert (tmp_path / "clear_refs").read_text() == "5"
    assert not status(tmp_path, "VmHWM: 90000 kB\nVmRSS: 200 kB\n").reset_peak()
    assert not status(tmp_path, "VmRSS: 200 kB\n").reset_peak()


def test_a_refused_reset_is_no_error(tmp_path: Path) -> None:
    assert not status(tmp_path, "VmHWM: 2 kB\nVmRSS: 2 kB\n", resettable=False).reset_peak()


@linux
def test_freed_blocks_leave_the_process_at_once() -> None:
    process = ProcessMemory()
    with returned_heap() as returned:
        assert returned
        before = process.resident()
        # 4 MiB each, with something small behind it that stays and would hold a heap's top.
        blocks, small = zip(*((torch.ones(MIB), torch.ones(64)) for _ in range(32)), strict=True)
        held = process.resident()
        del blocks
        after = process.resident()
    assert len(small) == 32
    assert before is not None
    assert held is not None
    assert after is not None
    assert held - before > 120 * MIB
    assert after - before < 32 * MIB  # what lay in old holes of the heap stays


@linux
@pytest.mark.parametrize(("text", "size"), [("4096", 4096), (None, 128 << 10), ("junk", 128 << 10)])
def test_thresholds_go_back_to_those_of_the_environment(monkeypatch, text, size) -> None:
    calls = []
    library = type("Libc", (), {"mallopt": lambda _, *call: calls.append(call)})
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: library())
    for name in ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_"):
        monkeypatch.delenv(name, raising=False) if text is None else monkeypatch.setenv(name, text)
    with returned_heap():
        assert calls == [(-3, 128 << 10), (-1, 0), (-2, 0)]  # map blocks, trim all, pad nothing
        calls.clear()
    assert sorted(calls) == [(-3, size), (-2, size), (-1, size)]


def test_a_size_beyond_an_int_is_clamped(monkeypatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "8589934592")
    assert memory._from_environment("MALLOC_TRIM_THRESHOLD_") == 2**31 - 1


def test_without_mallopt_the_heap_is_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    with returned_heap() as returned:
        assert not returned
    trim()
