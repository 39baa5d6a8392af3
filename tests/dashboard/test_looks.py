"""Colours: told apart by everybody, the same for a variant on every page and in every run."""

import itertools
import math

import numpy as np
import pytest

from dashboard import looks
from models.variant import VARIANTS

GROUNDS = ("#ffffff", "#171614")
# Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    "deuteranopia": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
    "tritanopia": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                            [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def linear(color: str) -> np.ndarray:
    parts = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted(float(weights @ linear(color)) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of linear RGB, white point D65."""
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    t = np.clip(to_xyz @ np.clip(rgb, 0, 1), 0, None) / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def ciede2000(one: np.ndarray, other: np.ndarray) -> float:
    """Sharma, Wu, Dalal 2005."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean_c = (math.hypot(a1, b1) + math.hypot(a2, b2)) / 2
    g = 0.5 * (1 - math.sqrt(mean_c**7 / (mean_c**7 + 25**7)))
    a1, a2 = (1 + g) * a1, (1 + g) * a2
    c1, c2 = math.hypot(a1, b1), math.hypot(a2, b2)
    h1, h2 = (math.degrees(math.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    dh = (h2 - h1 + 180) % 360 - 180
    mean_h = (h1 + dh / 2) % 360
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2
    cos = [math.cos(math.radians(k * mean_h - s)) for k, s in ((1, 30), (2, 0), (3, -6), (4, 63))]
    t = 1 - 0.17 * cos[0] + 0.24 * cos[1] + 0.32 * cos[2] - 0.20 * cos[3]
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    turn = 60 * math.exp(-(((mean_h - 275) / 25) ** 2))
    r = -2 * math.sqrt(mean_c**7 / (mean_c**7 + 25**7)) * math.sin(math.radians(turn))
    light, chroma = (l2 - l1) / s_l, (c2 - c1) / s_c
    hue = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(dh / 2)) / s_h
    return math.sqrt(light**2 + chroma**2 + hue**2 + r * chroma * hue)


def test_the_distance_is_that_of_its_authors() -> None:
    pair = np.array([50.0, 2.6772, -79.7751]), np.array([50.0, 0.0, -82.7485])
    assert ciede2000(*pair) == pytest.approx(2.0425, abs=1e-4)


@pytest.mark.parametrize("color", looks.PALETTE)
def test_every_colour_stands_out_on_both_grounds(color: str) -> None:
    assert min(contrast(color, ground) for ground in GROUNDS) >= 2.95


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_are_told_apart_by_everybody(deficiency: str) -> None:
    matrix = DEFICIENCIES[deficiency]
    seen = [lab(matrix @ linear(color)) for color in looks.PALETTE]
    assert min(ciede2000(a, b) for a, b in itertools.combinations(seen, 2)) >= 10.5


def test_a_variant_has_its_colour_in_every_run() -> None:
    alone = looks.styles([("x", "lsh")])["x"]
    among = looks.styles([("a", "full"), ("b", "local"), ("c", "lsh")])["c"]
    assert alone == among
    assert looks.styles([("a", "mine")])["a"] == looks.styles([("b", "full"), ("a", "mine")])["a"]


def test_our_variants_have_places_of_their_own() -> None:
    missing = sorted(set(VARIANTS.names()) - set(looks.PLACES))
    assert missing == [], "put new variants at the end of looks.PLACES"
    first = [looks.styles([("x", name)])["x"].color for name in list(looks.PLACES)[:8]]
    assert len(set(first)) == 8


def test_no_two_lines_of_a_run_look_alike() -> None:
    lines = [(f"{name}-{i}", name) for name in list(looks.PLACES)[:16] for i in range(4)]
    found = looks.styles(lines)
    marks = [(style.color, style.marker) for style in found.values()]
    assert len(set(marks)) == len(lines)
    assert all(
        style.glyph == looks.GLYPHS[looks.MARKERS.index(style.marker)] for style in found.values()
    )
