from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.worker import allocator
from harness.worker.allocator import STATISTICS, Change, Mark, recorded, snapshot_on_failure

MIB = 1 << 20


def test_every_block_is_seen_once_when_it_comes_and_once_when_it_goes() -> None:
    with recorded("cpu") as tape:
        block = torch.ones(MIB)
        tape.mark("here", [block])
        del block
    (mark,) = [event for event in tape.events if isinstance(event, Mark)]
    own = [e for e in tape.events if isinstance(e, Change) and e.pointer == mark.pointer]
    assert [event.size for event in own] == [4 * MIB, -4 * MIB]
    assert own[0].at_ns < mark.at_ns < own[1].at_ns


def test_views_are_marked_as_the_block_they_look_at_and_once() -> None:
    with recorded("cpu") as tape:
        block = torch.ones(64)
        tape.mark("here", [block, block[8:], block.view(8, 8)])
        tape.mark("moment")
        tape.mark("nothing", [torch.ones(0)])
    marks = [event for event in tape.events if isinstance(event, Mark)]
    assert [(m.name, m.pointer) for m in marks] == [("here", block.data_ptr()), ("moment", 0)]


def test_another_device_is_not_listened_to() -> None:
    with recorded("cuda") as tape:
        torch.ones(64)
    assert not tape.events


def test_statistics_are_read_by_name_and_those_that_are_missing_are_left_out() -> None:
    keys: dict = {key: number for number, key in enumerate(STATISTICS.values())}
    found = allocator.statistics(SimpleNamespace(memory_stats=lambda: keys))
    assert found == {name: keys[key] for name, key in STATISTICS.items()}
    del keys["num_ooms"]
    keys["allocated_bytes.all.peak"] = None  # as of an allocator that does not count
    found = allocator.statistics(SimpleNamespace(memory_stats=lambda: keys))
    assert STATISTICS.keys() - found.keys() == {"ooms", "allocated"}


def test_the_backend_is_told_where_torch_tells() -> None:
    assert allocator.backend(SimpleNamespace(get_allocator_backend=lambda: "native")) == "native"
    assert allocator.backend(SimpleNamespace()) is None


class FakeMemory:
    """torch.cuda.memory with its private half."""

    def __init__(self, *, broken: bool = False) -> None:
        self.log: list = []
        self.broken = broken

    def _record_memory_history(self, **options) -> None:
        self.log.append(options)

    def _dump_snapshot(self, name: str) -> None:
        if self.broken:
            raise RuntimeError("no snapshots today")
        Path(name).write_bytes(b"snapshot")


def fail(
    memory, folder, *, history: bool = True, error: type[Exception] = torch.OutOfMemoryError
) -> None:
    cuda = SimpleNamespace(memory=memory)
    with snapshot_on_failure(folder, cuda, history=history):
        raise error("CUDA out of memory")


def test_an_out_of_memory_leaves_a_snapshot_with_history_and_goes_on(tmp_path: Path) -> None:
    memory = FakeMemory()
    with pytest.raises(torch.OutOfMemoryError):
        fail(memory, str(tmp_path / "new"))
    assert (tmp_path / "new" / allocator.SNAPSHOT).read_bytes() == b"snapshot"
    assert memory.log == [{"max_entries": 100_000}, {"enabled": None}]


def test_history_is_recorded_only_where_asked(tmp_path: Path) -> None:
    memory = FakeMemory()
    with pytest.raises(torch.OutOfMemoryError):
        fail(memory, str(tmp_path), history=False)
    assert not memory.log
    assert (tmp_path / allocator.SNAPSHOT).exists()


@pytest.mark.parametrize("memory", [FakeMemory(broken=True), SimpleNamespace()])
def test_without_the_private_interface_the_failure_stays_what_it_is(tmp_path, memory) -> None:
    with pytest.raises(torch.OutOfMemoryError):
        fail(memory, str(tmp_path))
    assert not (tmp_path / allocator.SNAPSHOT).exists()


def test_other_failures_leave_no_snapshot_nor_does_a_cell_without_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="CUDA"):
        fail(FakeMemory(), str(tmp_path), error=ValueError)
    memory = FakeMemory()
    with pytest.raises(torch.OutOfMemoryError):
        fail(memory, None)
    assert not memory.log
    assert not list(tmp_path.iterdir())
