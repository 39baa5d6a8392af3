"""An audit catches planted cheats, and lets the honest pass."""

import importlib.util
import time
from itertools import count
from pathlib import Path

import pytest

from harness.worker.audit import audit
from harness.worker.clock import Clock
from harness.worker.failure import WrongError
from harness.worker.proof import prove

_spec = importlib.util.spec_from_file_location(
    "cheating_mechanisms", Path(__file__).parent / "cheats" / "mechanisms.py"
)
assert _spec is not None
assert _spec.loader is not None
mechanisms = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(mechanisms)
CELL, VARIANT, Options = mechanisms.CELL, mechanisms.VARIANT, mechanisms.Options


def examine(trick: str, clock: Clock | None = None) -> dict:
    clock = clock or Clock(sleep_s=lambda _s: None)
    return audit(CELL, VARIANT, Options(trick=trick), "fast", seed=0, clock=clock)


@pytest.fixture
def clock_restored():
    before = time.process_time_ns
    yield
    time.process_time_ns = before


def test_an_honest_mechanism_passes_and_tells_its_ratios() -> None:
    found = examine("none")
    assert set(found) == {
        "unique_over_repeated", "fresh_over_repeated", "returns_early", "suspicions",
    }  # fmt: skip
    assert found["returns_early"] is False


@pytest.mark.parametrize(
    ("trick", "words"),
    [
        ("caches_by_address", "other values at the same addresses"),
        ("returns_what_it_returned_before", "other values at the same addresses"),
        ("is_right_in_the_first_call_only", "a second call on the same inputs"),
        ("is_wrong_once_it_is_timed", "the last timed call"),
    ],
)
def test_an_output_that_is_not_that_of_its_inputs_is_wrong(trick: str, words: str) -> None:
    with pytest.raises(WrongError, match=words):
        examine(trick)


@pytest.mark.usefixtures("clock_restored")
def test_a_replaced_clock_is_wrong() -> None:
    with pytest.raises(WrongError, match=r"replaced time\.process_time_ns"):
        examine("replaces_the_clock")


@pytest.mark.parametrize(
    "trick", ["caches_by_address", "returns_what_it_returned_before", "is_wrong_once_it_is_timed"]
)
def test_the_proof_alone_would_have_believed_them(trick: str) -> None:
    prove(CELL, VARIANT, Options(trick=trick), "fast", seed=0)
    prove(CELL, VARIANT, Options(trick=trick), "fast", seed=1)


def test_the_clock_that_times_was_bound_before_any_variant_was_imported(clock_restored) -> None:
    time.process_time_ns = lambda: 0
    first = Clock().cpu_ns()
    sum(range(100_000))
    assert Clock().cpu_ns() > first > 0


def test_work_that_goes_on_after_the_return_is_a_finding() -> None:
    ticks = count(0, 20_000_000)  # the process takes all of each rest
    found = examine("none", Clock(cpu_ns=lambda: next(ticks), sleep_s=lambda _s: None))
    assert found["returns_early"] is True
    assert "work goes on after a call has returned" in found["suspicions"]


def test_unique_inputs_that_take_longer_are_a_finding() -> None:
    taken = {"now": 0, "calls": 0}

    def read() -> int:  # calls come as repeated, fresh, unique, and are read before and after
        call, after = divmod(taken["calls"], 2)
        taken["calls"] += 1
        taken["now"] += after * (3000 if call % 3 == 2 else 1000)
        return taken["now"]

    found = examine("none", Clock(cpu_ns=read, sleep_s=lambda _s: None))
    assert found["unique_over_repeated"] == 3
    assert found["fresh_over_repeated"] == 1
    assert found["suspicions"][0].startswith("inputs never seen take 3 times as long")
