"""Laws of numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.telling import units


@given(st.floats(min_value=1e-12, max_value=1e18))
def test_a_printed_number_is_within_half_a_unit_of_its_third_digit(value: float) -> None:
    assert float(units.number(value)) == pytest.approx(value, rel=0.0051)
    assert float(units.number(-value)) == -float(units.number(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *[(0, "0"), (0.5123, "0.512"), (12.345, "12.3"), (99.96, "100"), (999.6, "1000")],
        *[(3048, "3050"), (1e7, "1e+07"), (0.00001, "1e-05"), (1, "1.00")],
    ],
)
def test_numbers_have_three_significant_digits(value: float, text: str) -> None:
    assert units.number(value) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        *[(1_500, "ns", "1.50 us"), (2.5e9, "ns", "2.50 s"), (64 * 2**20, "byte", "64.0 MiB")],
        *[(1000, "byte", "1000 B"), (2**30, "byte", "1.00 GiB"), (3e12, "flop", "3.00 TFLOP")],
        *[(1.7e6, "1", "1.70M"), (0, "ns", "0 ns"), (250, "token/s", "250 token/s")],
    ],
)
def test_a_quantity_stands_on_the_step_that_keeps_it_short(value, unit: str, text: str) -> None:
    assert units.quantity(value, unit) == text


def test_an_interval_has_one_step_for_both_ends() -> None:
    assert units.span(0.9e6, 1.2e6, "ns") == "0.900 to 1.20 ms"


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        (512, "512"),
        (1024, "1k"),
        (8192, "8k"),
        (262144, "256k"),
        (3121.5, "3.05k"),
        (700.4, "700"),
        (1000, "1000"),
    ],
)
def test_lengths_are_written_as_in_suites(tokens: float, text: str) -> None:
    assert units.length(tokens) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.50x"), (1, "1.00x"), (0.0123, "0.0123x"), (9.996, "10.0x"), (123.4, "123x")],
)
def test_ratios_have_two_decimals_around_one(value: float, text: str) -> None:
    assert units.ratio(value) == text


def test_a_scale_knows_what_it_cannot_show() -> None:
    step = units.scale([1e3, 1e6, 1e9], "ns")
    assert step.name == "ms"
    assert step.fits([1e3, 1e6, 1e9])
    assert not step.fits([1e12])
    assert not step.fits([1])
    assert step.fits([])


def test_shares_are_percentages_of_two_digits() -> None:
    assert units.percent(0.1234) == "12 %"
    assert units.percent(0.0567) == "5.7 %"
    assert units.percent(1.5) == "150 %"
