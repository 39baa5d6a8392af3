from __future__ import annotations

import pytest

from harness import lengths


@pytest.mark.parametrize(
    ("written", "number"), [(512, 512), ("2k", 2048), ("64k", 65536), (1e3, 1000), (-5, -5)]
)
def test_a_whole_number_may_be_written_with_k_for_1024(written: object, number: int) -> None:
    assert lengths.whole(written) == number


@pytest.mark.parametrize("written", ["2", "2K", "2.5k", "-2k", "k", "", 1.5, True, None, [1], "²k"])
def test_what_is_no_whole_number_is_none(written: object) -> None:
    assert lengths.whole(written) is None


@pytest.mark.parametrize(
    ("written", "size"),
    [(100, 100), ("4GiB", 4 << 30), ("1.5 MiB", 3 << 19), ("1TiB", 1 << 40), ("4k", 4096)],
)
def test_a_size_is_in_bytes_or_has_a_binary_unit(written: object, size: int) -> None:
    assert lengths.size(written) == size


@pytest.mark.parametrize("written", ["4GB", "4", "GiB", "-1GiB", 0.5, None])
def test_what_is_no_size_is_none(written: object) -> None:
    assert lengths.size(written) is None


def test_powers_of_two_include_both_ends() -> None:
    assert lengths.powers_of_two(10, 13) == (1024, 2048, 4096, 8192)
