"""Laws of Student's t: exact values of two members, tables, and the inverse."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judging import student


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 3.7, 40.0])
def test_one_and_two_degrees_of_freedom_have_closed_forms(t: float) -> None:
    assert student.tail(t, 1) == pytest.approx(0.5 - math.atan(t) / math.pi, rel=1e-10)
    assert student.tail(t, 2) == pytest.approx(0.5 * (1 - t / math.sqrt(2 + t * t)), rel=1e-9)


@pytest.mark.parametrize(
    ("t", "df", "p"),
    [
        (2.5, 7.3, 0.019825117332800214),  # scipy.stats.t.sf
        (4.500790933723724, 8, 0.001),
        (6.0, 4.0, 0.0019412687),
        (1.959964, 1e7, 0.025),
    ],
)
def test_the_tail_is_that_of_tables(t: float, df: float, p: float) -> None:
    assert student.tail(t, df) == pytest.approx(p, rel=1e-6)


@given(st.floats(1e-9, 0.499), st.floats(0.6, 500))
def test_a_point_has_the_tail_that_was_asked_for(p: float, df: float) -> None:
    assert student.tail(student.point(p, df), df) == pytest.approx(p, rel=1e-7)
    assert student.point(1 - p, df) == pytest.approx(-student.point(p, df), rel=1e-5)


def test_what_has_no_tail_is_refused() -> None:
    with pytest.raises(ValueError, match="degrees of freedom"):
        student.tail(1, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        student.point(0, 5)
