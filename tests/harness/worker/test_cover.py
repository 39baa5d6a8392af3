from types import SimpleNamespace

from harness.worker.cover import LEAST_NS, Cover
from harness.worker.spin import LONGEST_NS, Spin

BEGUN = SimpleNamespace(query=lambda: True)
WAITING = SimpleNamespace(query=lambda: False)


def cover(host_ns: float) -> tuple[Cover, list[int]]:
    slept: list[int] = []
    return Cover(Spin(sleep=slept.append, cycles_per_ns=1.0), host_ns), slept


def test_the_device_is_busy_for_twice_the_hosts_time() -> None:
    one, slept = cover(1_000_000)
    one.queue()
    assert slept == [2_000_000]


def test_a_fast_host_is_still_covered() -> None:
    assert cover(1)[0].duration_ns == LEAST_NS


def test_an_exposed_block_widens_the_next_one_and_a_hidden_one_does_not() -> None:
    one, _ = cover(1_000_000)
    one.saw(BEGUN)
    one.widen()
    assert one.duration_ns == 4_000_000
    one.saw(WAITING)
    one.widen()
    assert one.duration_ns == 4_000_000


def test_the_cover_is_bounded() -> None:
    one, _ = cover(1_000_000)
    for _ in range(100):
        one.saw(BEGUN)
        one.widen()
    assert one.duration_ns == LONGEST_NS


def test_one_sample_in_twenty_may_be_exposed() -> None:
    one, _ = cover(1)
    assert not one.hidden  # nothing was seen yet
    for event in [BEGUN] + [WAITING] * 19:
        one.saw(event)
    assert one.hidden
    one.saw(BEGUN)
    assert not one.hidden


def test_without_a_spin_exposure_is_still_counted_and_told() -> None:
    one = Cover(Spin(reason="none here"), 1_000_000)
    one.queue()
    one.saw(BEGUN)
    one.widen()
    assert (one.duration_ns, one.exposed, one.reason) == (0.0, 1, "none here")
