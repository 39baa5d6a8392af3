"""Laws of the scaling chart: what failed is shown, lines never invent."""

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import curves, theme
from dashboard.curves import Chart
from dashboard.figures import axes, scaling
from harness import store

METRICS = ("latency", "peak_memory", "throughput")


def full(scenes: dict[str, Path], metric: str = "latency") -> Chart:
    run = store.open("full", scenes["full"])
    names = [contender.id for contender in run.header.contenders]
    return curves.chart(curves.records(store.frame(run)), names, metric, "forward")


def draw(chart: Chart, kind: str = "light") -> Any:  # a go.Figure, which has no types
    return scaling.scaling(chart, theme.INK[kind])


def trace(figure: Any, name: str) -> Any:
    (found,) = (each for each in figure.data if each.name == name)
    return found


@pytest.mark.parametrize("kind", theme.INK)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("scene", ["one cell", "all out of memory", "full"])
def test_every_scene_can_be_drawn(
    scenes: dict[str, Path], scene: str, metric: str, kind: str
) -> None:
    run = store.open("latest", scenes[scene])
    names = [contender.id for contender in run.header.contenders]
    rows = curves.records(store.frame(run))
    figure = draw(curves.chart(rows, names, metric, "forward"), kind)
    assert len(figure.data) > 0
    assert figure.layout.height > 0


def test_medians_are_drawn_where_they_were_measured(scenes: dict[str, Path]) -> None:
    chart = full(scenes)
    figure = draw(chart)
    for curve in (curve for curve in chart.curves if curve.points):
        line = trace(figure, curve.contender)
        drawn = {x: y for x, y in zip(line.x, line.y, strict=True) if y is not None}
        assert drawn == {point.length: point.value for point in curve.points}


def test_lines_break_where_there_is_no_number(scenes: dict[str, Path]) -> None:
    line = trace(draw(full(scenes)), "local")
    assert line.y[list(line.x).index(2048)] is None
    assert line.connectgaps is False
    assert all(y is None or y > 0 for y in line.y)


def test_bands_break_where_there_is_no_number(scenes: dict[str, Path]) -> None:
    bands = [each for each in draw(full(scenes)).data if each.name == "local 95 %"]
    assert [sorted(set(band.x)) for band in bands] == [[512, 1024], [4096, 8192, 16384]]
    assert all(band.fill == "toself" for band in bands)


def test_a_band_encloses_its_line(scenes: dict[str, Path]) -> None:
    chart = full(scenes)
    curve = next(curve for curve in chart.curves if curve.contender == "reformer")
    band = trace(draw(chart), "reformer 95 %")
    half = len(band.x) // 2
    for x, high, low in zip(band.x[:half], band.y[:half], band.y[::-1][:half], strict=True):
        assert low <= curve.at[x].value <= high


def test_every_failure_stands_at_its_length_with_glyph_and_word(scenes: dict[str, Path]) -> None:
    chart = full(scenes)
    figure = draw(chart)
    for curve in (curve for curve in chart.curves if curve.failures):
        strip = trace(figure, f"{curve.contender} without a number")
        words = trace(figure, f"{curve.contender} in words")
        assert list(strip.x) == [failure.length for failure in curve.failures]
        assert strip.yaxis == words.yaxis == "y2"
        before = None
        for failure, glyph, word in zip(curve.failures, strip.text, words.text, strict=True):
            expected = theme.outcome(failure.outcome)
            assert glyph == expected[0]
            assert word.strip() == (expected[1] if failure.outcome != before else "")
            before = failure.outcome


def test_the_strip_is_above_the_plot_and_names_its_rows(scenes: dict[str, Path]) -> None:
    layout = draw(full(scenes)).layout
    assert layout.yaxis2.domain[0] > layout.yaxis.domain[1]
    assert layout.yaxis2.ticktext == (
        *("transformer", "transformer-eager", "local", "linear", "broken", "odd"),
    )


def test_a_contender_keeps_its_look_when_others_leave(scenes: dict[str, Path]) -> None:
    rows = curves.records(store.frame("full", root=scenes["full"]))
    names = ("transformer", "transformer-eager", "reformer", "local")
    few = [row for row in rows if row["contender"] in {"transformer", "reformer"}]
    looks = [
        (line.line.color, line.line.dash, line.marker.symbol)
        for part in (rows, few)
        for line in [trace(draw(curves.chart(part, names, "latency", "forward")), "reformer")]
    ]
    assert looks[0] == looks[1]


def test_annotations_lie_at_logarithms_and_shapes_at_lengths(scenes: dict[str, Path]) -> None:
    chart = full(scenes)
    figure = draw(chart)
    (curve,) = (c for c in chart.curves if c.crossover and not c.crossover.everywhere)
    assert curve.crossover is not None
    (label,) = (a for a in figure.layout.annotations if a.name == "crossover reformer")
    (line,) = (s for s in figure.layout.shapes if s.type == "line")
    assert label.x == pytest.approx(math.log10(curve.crossover.length))
    assert line.x0 == line.x1 == curve.crossover.length
    assert label.text == "reformer faster from 4.99k"


def test_every_line_is_named_where_it_ends_and_with_its_exponent(scenes: dict[str, Path]) -> None:
    chart = full(scenes)
    labels = {a.name: a for a in draw(chart).layout.annotations}
    for curve in (curve for curve in chart.curves if curve.points):
        label = labels[f"label {curve.contender}"]
        assert label.x == pytest.approx(math.log10(curve.points[-1].length))
        assert curve.contender in label.text
        assert curve.exponent is not None
        assert f"{curve.exponent.exponent:.2f}</sup>" in label.text


def test_names_from_outside_are_shown_not_obeyed(scenes: dict[str, Path]) -> None:
    evil = "<a href='https://example.org'>x</a>"
    rows = [
        row | {"contender": evil, "reason": "<b>b</b>"}
        for row in curves.records(store.frame("full", root=scenes["full"]))
        if row["contender"] == "local"
    ]
    drawn = json.loads(draw(curves.chart(rows, (evil,), "latency", "forward")).to_json())
    for each in (*drawn["data"], *drawn["layout"]["annotations"]):
        del each["name"]  # not shown: there is no legend
    shown = str(drawn)
    assert "&lt;a href" in shown
    assert "<a" not in shown
    assert "<b>b</b>" not in shown


def test_charts_stay_small(scenes: dict[str, Path]) -> None:
    points = sum(len(each.x) for each in draw(full(scenes)).data)
    assert points < 500


@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=8),
    st.floats(0.01, 1),
)
def test_spread_keeps_order_and_distance(places: list[float], gap: float) -> None:
    moved = axes.spread(places, gap)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for one, other in pairwise(order):
        assert moved[other] - moved[one] >= gap - 1e-9
    if all(places[b] - places[a] >= gap + 1e-9 for a, b in pairwise(order)):
        assert moved == pytest.approx(places)


@given(st.floats(1e-9, 1e3), st.floats(1.0, 1e6), st.sampled_from(["s", "byte", "flop", "1"]))
def test_ticks_lie_inside_and_are_few(lo: float, factor: float, unit: str) -> None:
    values, texts = axes.value_ticks(lo, lo * factor, unit)
    assert 1 <= len(values) == len(texts) <= 13
    assert all(lo * (1 - 1e-9) <= value <= lo * factor * (1 + 1e-9) for value in values)


@pytest.mark.parametrize("n", [0, 1, 9, 10, 11, 19, 40])
def test_length_ticks_are_measured_and_end_at_the_longest(n: int) -> None:
    lengths = [2**i for i in range(n)]
    values, texts = axes.length_ticks(lengths)
    assert set(values) <= set(lengths)
    assert values[-1:] == lengths[-1:]
    assert len(texts) == len(values) <= 10
