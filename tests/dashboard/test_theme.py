"""Text is readable, and numbers read the same everywhere."""

import pytest

from dashboard import theme


def luminance(color: str) -> float:
    """Relative luminance of WCAG 2.2."""
    parts = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", theme.INK)
def test_text_is_readable(kind: str) -> None:
    ink = theme.INK[kind]
    assert contrast(ink.text, ink.paper) >= 7
    assert contrast(ink.quiet, ink.paper) >= 4.5


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123456, "s", "12.3 ms"),
        (0.001, "s", "1.00 ms"),
        (12.345, "s", "12.3 s"),
        (123.4, "s", "123 s"),
        (4567.0, "s", "4570 s"),
        (9.996e-7, "s", "1.00 \N{MICRO SIGN}s"),
        (1.5 * 2**30, "byte", "1.50 GiB"),
        (512, "byte", "512 B"),
        (3.2e9, "flop", "3.20 GFLOP"),
        (114_321, "token/s", "114 k tokens/s"),
        (0.25, "1", "0.250"),
        (0, "1", "0"),
        (7.5, "furlong", "7.50 furlong"),
    ],
)
def test_quantities_have_three_digits_and_a_unit(value: float, unit: str, text: str) -> None:
    assert theme.quantity(value, unit) == text


@pytest.mark.parametrize(
    ("tokens", "text"),
    [(512, "512"), (1024, "1k"), (1536, "1.5k"), (5109.8, "4.99k"), (65536, "64k"), (2**20, "1M")],
)
def test_lengths_are_short(tokens: float, text: str) -> None:
    assert theme.length(tokens) == text


def test_what_is_new_is_called_by_its_name() -> None:
    assert theme.metric("bits_per_byte").tab == "Bits per byte"
    assert theme.outcome("melted") == ("?", "melted")
    assert theme.power(-0.001) == "0.00"
    assert theme.label("<b>" + "x" * 40) == "&lt;b&gt;" + "x" * 24 + "…"


def test_markdown_shows_every_name_as_it_is() -> None:
    (_, _, line) = theme.markdown_table([{"name": "[x](javascript:alert(1)) | <b>", "n": None}])
    assert line == "| \\[x\\]\\(javascript\\:alert\\(1\\)\\) \\| \\<b\\> |  |"
