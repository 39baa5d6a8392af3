"""Laws of the count of operators: it repeats, it grows with the work, it names what ran."""

from dataclasses import replace

import pytest

from harness.schema import Cell, Job, Protocol
from harness.worker.metric import Bench
from harness.worker.metrics import operations
from tests.harness.worker.conftest import CELL as AVERAGING

CELL = replace(AVERAGING, attention="full", impl="eager")


def count(cell: Cell) -> tuple[int, dict[str, int]]:
    job = Job(cell=cell, metrics=("operations",), protocol=Protocol())
    found = operations.collect(Bench(job=job))
    (measured,) = found.measurements
    return int(measured.samples[0]), dict(found.facts["operations_by_name"])


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_the_count_repeats_and_is_the_sum_of_its_parts(phase: str) -> None:
    cell = replace(CELL, phase=phase)
    total, parts = count(cell)
    assert (total, parts) == count(cell)
    assert total == sum(parts.values())
    assert any("mm" in name for name in parts)


def test_more_layers_are_more_operators_and_a_longer_sequence_is_not() -> None:
    one = count(CELL)[0]
    assert count(replace(CELL, layers=CELL.layers + 1))[0] > one
    assert count(replace(CELL, seq_len=2 * CELL.seq_len))[0] == one
