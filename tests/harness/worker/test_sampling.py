import gc

import pytest

from harness.schema import Protocol
from harness.worker.sampling import collector_paused, share, stop_reason

S = 1_000_000_000
PROTOCOL = Protocol(min_samples=10, max_samples=20, min_time_s=1.0, max_time_s=5.0)


@pytest.mark.parametrize(
    ("count", "elapsed_s", "reason"),
    [
        (9, 4.9, None),  # too few
        (10, 0.9, None),  # too soon
        (10, 1.0, "enough"),
        (4, 5.0, "max_time"),
        (3, 100.0, None),  # never fewer than four, however slow
        (19, 0.1, None),
        (20, 0.1, "max_samples"),  # a fast step
        (20, 1.0, "enough"),
    ],
)
def test_sampling_stops_for_the_reason_that_it_gives(count, elapsed_s, reason) -> None:
    assert stop_reason(PROTOCOL, count, int(elapsed_s * S)) == reason


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_rests_while_timing_and_is_left_as_it_was(enabled: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()


def test_launches_share_samples_and_time() -> None:
    whole = Protocol(launches=4, min_samples=10, max_samples=20, min_time_s=1.0, max_time_s=8.0)
    part = share(whole)
    assert (part.launches, part.min_samples, part.max_samples) == (1, 3, 5)
    assert (part.min_time_s, part.max_time_s) == (0.25, 2.0)
    assert share(part) == part
