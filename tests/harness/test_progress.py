"""Laws of telling how far a run is."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from harness.progress import Estimator, Progress, duration
from harness.schema import Measurement, Outcome, Protocol


def test_nothing_is_guessed_before_anything_is_known(make_cell) -> None:
    assert Estimator([make_cell()], Protocol()).left_s() is None


def test_time_left_is_nothing_once_all_is_done(make_cell, make_result) -> None:
    estimator = Estimator([make_cell()], Protocol())
    estimator.done(replace(make_result(make_cell()), wall_ns=10**9))
    assert estimator.left_s() == 0


def test_longer_cells_are_guessed_longer_and_never_beyond_the_time_out(
    make_cell, make_result
) -> None:
    short, middle, long = (make_cell(seq_len=n) for n in (512, 1024, 1 << 20))
    estimator = Estimator([short, middle, long], Protocol(timeout_s=60))
    estimator.done(replace(make_result(short), wall_ns=10**9))
    left = estimator.left_s()
    assert left == pytest.approx(2**1.5 + 60)


def test_a_line_a_finished_cell_with_its_outcome(make_cell, make_result) -> None:
    out = StringIO()
    cells = [make_cell(seq_len=n) for n in (512, 1024)]
    progress = Progress(Console(file=out, width=200), cells, Protocol())
    latency = Measurement(metric="latency", unit="ns", better="lower", samples=(2e6, 4e6, 3e6))
    good = replace(make_result(cells[0]), measurements=(latency,), wall_ns=10**9)
    bad = replace(
        make_result(cells[1]), outcome=Outcome.OUT_OF_MEMORY, reason="asked for [red]24 GiB"
    )
    for result in (good, bad):
        progress.started(result.cell)
        progress.stage("latency")
        progress.ended(result)
    first, second = out.getvalue().splitlines()
    assert first.startswith("[1/2]")
    assert "3.00 ms, 3 samples" in first
    assert "left" in first
    assert "out of memory: asked for [red]24 GiB" in second


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59, "59 s"), (90, "2 min"), (7300, "2 h 2 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words
