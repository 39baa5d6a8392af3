"""Laws of the figures beside the scaling chart: what is drawn is what was measured."""

import importlib
import math
from pathlib import Path
from typing import Any

import pytest

from dashboard import (
    curves,
    figures,
    history,
    lines,
    looks,
    profiles,
    samples,
    theme,
    tradeoffs,
    verdicts,
)
from dashboard.curves import Row
from dashboard.grid import Grid, grid
from dashboard.profiles import Roof
from harness import compare, store
from harness.roofline import Peak

INK = theme.INK["light"]


def module(name: str) -> Any:  # Plotly's figures have no types
    return importlib.import_module(f"{figures.__name__}.{name}")


grids, forest, pareto, profile = map(module, ("grid", "forest", "pareto", "profile"))
plots, multiples = module("samples"), module("history")


@pytest.fixture(scope="module")
def much(scenes: dict[str, Path]) -> list[Row]:
    run = store.outline("run-11", scenes["much"])
    names = [contender.id for contender in run.header.contenders]
    return curves.records(lines.lines(store.frame(run.path), names).table)


@pytest.fixture(scope="module")
def full(scenes: dict[str, Path]) -> Grid:
    rows = curves.records(store.frame("full", root=scenes["full"]))
    names = list(dict.fromkeys(row["contender"] for row in rows))
    return grid(curves.chart(rows, names, "latency", "forward"))


def words(figure: Any) -> dict[tuple[int, int], str]:
    texts = [each for each in figure.data if each.type == "scatter"]
    return {(y, x): t for each in texts for x, y, t in zip(each.x, each.y, each.text, strict=True)}


def test_every_cell_of_the_grid_has_a_number_or_a_word(full: Grid) -> None:
    told = words(grids.grid(full, INK))
    assert len(told) == len(full.entries) == 42
    for (line, length), entry in full.entries.items():
        text = told[full.lines.index(line), full.lengths.index(length)]
        if entry.value is None:
            assert theme.outcome(entry.outcome)[1] in text
        else:
            assert text.startswith(theme.quantity(entry.value, "s"))


def test_the_best_of_a_column_is_one_and_nobody_is_better(full: Grid) -> None:
    for n in full.lengths:
        ratios = [e.ratio for e in full.entries.values() if e.length == n and e.ratio]
        assert min(ratios) == 1
        assert all(ratio >= 1 for ratio in ratios)


def test_letters_stand_out_from_their_ground(full: Grid) -> None:
    dark, light = (
        next(each for each in grids.grid(full, INK).data if each.name == name)
        for name in ("cells on dark ground", "cells")
    )
    assert set(dark.textfont.color) <= {"#ffffff"}
    assert set(light.textfont.color) == {"#000000", INK.text}


def test_the_frontier_is_what_nobody_beats_in_both(much: list[Row]) -> None:
    spots = tradeoffs.spots(much, 4096, "latency", "quality")
    assert len(spots) == 5
    for spot in spots:
        beaten = any(
            o.x <= spot.x and o.y >= spot.y and (o.x, o.y) != (spot.x, spot.y) for o in spots
        )
        assert spot.best is not beaten
    figure = pareto.pareto(spots, {}, INK, x=("Time", "s"), y=("Score", "1", "higher"))
    (strong,) = (each for each in figure.data if each.name == "unbeaten")
    assert sorted(strong.x) == sorted(spot.x for spot in spots if spot.best)
    top = figure.layout.yaxis.range[1]
    assert all(spot.y < top for spot in spots)


def test_a_budget_lets_through_what_fits_and_says_of_the_rest_why_not(much: list[Row]) -> None:
    fit, out = tradeoffs.budget(much, 4096, 2**20, "quality", None)
    assert fit == []
    assert all("needs 64.0 MiB" in line for line in out)
    fit, out = tradeoffs.budget(much, 4096, None, "quality", 0.8)
    assert [line["time"] for line in fit] == sorted(line["time"] for line in fit)
    assert all(line["quality"] >= 0.8 for line in fit)
    assert len(fit) + len(out) == 5


def test_hash_rounds_are_a_curve_for_each_other_setting(much: list[Row]) -> None:
    rungs = tradeoffs.rungs(much, 4096, "error")
    assert [rung.hashes for rung in rungs] == [2, 4, 8]
    assert [rung.y for rung in rungs] == pytest.approx([0.25, 0.125, 0.0625])
    (curve,) = pareto.ladder(rungs, INK, y=("Error", "lower")).data
    assert list(curve.text) == ["2", "4", "8"]


def test_a_forest_has_a_whisker_for_each_cell_and_the_worst_first(scenes: dict[str, Path]) -> None:
    runs = [store.open(name, scenes["much"]) for name in ("run-05", "run-06")]
    found = verdicts.rows(compare.compare_runs(*runs), "latency")
    assert [row.verdict for row in found[:4]] == ["regressed"] * 4
    figure = forest.forest(found, INK)
    drawn = {y: x for each in figure.data for x, y in zip(each.x, each.y, strict=True)}
    assert drawn == {i: row.ratio for i, row in enumerate(found)}
    for row in found:
        assert row.lo is not None
        assert row.hi is not None
        assert row.lo <= (row.ratio or 0) <= row.hi
    axis = figure.layout.xaxis
    assert axis.range[0] == -axis.range[1]  # twice and half are equally far


def test_verdicts_add_up_and_negative_is_never_faster(scenes: dict[str, Path]) -> None:
    runs = [store.open(name, scenes["much"]) for name in ("run-05", "run-06")]
    comparison = compare.compare_runs(*runs)
    found = verdicts.rows(comparison, "latency")
    assert sum(verdicts.counts(found).values()) == len(found) == 20
    assert "1.5" in verdicts.headline(found)
    assert "slower" in verdicts.headline(found)
    text = verdicts.markdown(comparison, "latency")
    assert "<script>" not in text
    assert text.count("\n| ") == 22


def test_a_cell_that_lost_its_number_is_counted_apart(scenes: dict[str, Path]) -> None:
    base, candidate = (store.open("full", scenes["full"]), store.open("one", scenes["one cell"]))
    told = verdicts.excluded(compare.compare_runs(base, candidate))
    assert told.startswith("1 of 84 cells have numbers on both sides; 83 do not: 47 missing")
    assert "2 timeout / missing" in told


def test_parts_of_a_profile_add_up_to_the_step(much: list[Row]) -> None:
    split = profiles.split(much, "transformer", profiles.PREFIX)
    assert split is not None
    assert set(split.parts) == {"matrix_product", "softmax", "sort", "copy", "unattributed"}
    assert next(iter(split.parts)) == "matrix_product"
    assert list(split.parts)[-1] == "unattributed"
    steps = {row["seq_len"]: row["value"] for row in much
             if row["metric"] == "profile_step" and row["contender"] == "transformer"}  # fmt: skip
    for i, n in enumerate(split.lengths):
        assert split.whole(i) == pytest.approx(steps[n])
    shares = profile.breakdown(split, INK, share=True)
    for i in range(len(split.lengths)):
        assert sum(bar.y[i] for bar in shares.data) == pytest.approx(1)


def test_many_parts_are_gathered_and_lose_nothing() -> None:
    parts = {f"part {i}": (20.0 - i,) for i in range(15)} | {"unattributed": (1.0,)}
    split = profiles.Split(lengths=(512,), parts=parts, unit="s", method="")
    figure = profile.breakdown(split, INK, share=False)
    assert len(figure.data) <= profile.MOST_PARTS + 1
    assert sum(bar.y[0] for bar in figure.data) == pytest.approx(split.whole(0))
    assert figure.data[-1].name == profile.REST


def test_sums_of_the_ledger_are_not_drawn_beside_their_parts(much: list[Row]) -> None:
    split = profiles.split(much, "transformer", profiles.LEDGER)
    assert split is not None
    assert set(split.parts) == {"parameters", "activations"}


def test_a_roofline_bends_where_memory_and_compute_meet() -> None:
    peak = Peak(source="measured", flops_per_s=1e12, bytes_per_s=1e11, method="")
    cell = Roof(line="a", length=512, intensity=4.0, rate=2e11, share=0.5)
    line, dots = profile.roofline([cell], [peak], {}, INK).data
    assert list(line.x)[1] == 10
    assert list(line.y)[1:] == [1e12, 1e12]
    assert (dots.x[0], dots.y[0]) == (4.0, 2e11)
    sheet = Peak(source="sheet", flops_per_s=None, bytes_per_s=None, method="")
    assert len(profile.roofline([cell], [sheet], {}, INK).data) == 1


def test_a_timeline_keeps_its_peaks() -> None:
    points = [[i, 10, 5000 if i == 777 else i % 50, "forward"] for i in range(9000)]
    told = {"columns": ["at_ns", "a_bytes", "b_bytes", "part"], "points": points, "changes": 9000}
    found = profiles.timeline(told)
    assert found is not None
    assert found.kept <= profiles.MOST_POINTS
    assert max(found.accounts["b"]) == 5000
    figure = profile.timeline(found, INK, capacity=6000)
    assert sum(len(each.x) for each in figure.data) <= 5000
    assert profiles.timeline({"columns": []}) is None


def test_a_distribution_ends_at_one_and_samples_keep_their_order() -> None:
    values = [3.0, 1.0, 2.0, 2.0]
    x, y = samples.ecdf(values)
    assert (x, y) == ([1.0, 2.0, 2.0, 3.0], [0.25, 0.5, 0.75, 1.0])
    (drawn,) = plots.order(values, "s", INK, (2, 2)).data
    assert list(drawn.y) == values
    assert len(plots.order(values, "s", INK, (2, 2)).layout.shapes) == 1


def test_many_samples_are_thinned_and_keep_their_ends() -> None:
    kept = plots.thinned(100_000)
    assert len(kept) <= plots.MOST
    assert (kept[0], kept[-1]) == (0, 99_999)
    assert plots.thinned(5) == [0, 1, 2, 3, 4]


def test_what_to_doubt_is_said_in_words() -> None:
    two = [1.0, 2.0] * 10
    told = " ".join(samples.warnings(two, "s"))
    assert "two groups, at 1.00 s and 2.00 s" in told
    slow = [1.0 + i // 10 for i in range(40)]
    assert "worth about" in " ".join(samples.warnings(slow, "s"))
    assert samples.warnings([1.0], "s") == []
    assert "too few" in samples.warnings([1.0, 2.0], "s")[0]
    found = samples.autocorrelations(slow)
    assert found is not None
    assert found.bound == pytest.approx(1.96 / math.sqrt(40))
    assert plots.autocorrelation(found, INK).data[0].y[0] == found.values[0]


def test_a_series_is_in_the_order_of_its_runs(scenes: dict[str, Path]) -> None:
    folders = [run.path for run in store.runs(scenes["much"])]  # newest first
    found = history.series(store.frame(*folders), "latency")
    assert len(found) == 20
    for each in found:
        assert [moment.run_id for moment in each.moments] == [f"run-{i:02d}" for i in range(12)]
    found_steps = history.steps(found)
    assert len(found_steps) == 4  # one a length of the contender that became slower
    step = found_steps[0]
    assert step.ratio == pytest.approx(1.5, rel=0.02)
    assert step.runs == ("run-05", "run-06")
    assert "1.50\N{MULTIPLICATION SIGN} slower since run-06" in history.sentence(step, "latency")
    assert [s[:2] for s in history.segments(step.series, found_steps)] == [(0, 5), (6, 11)]
    drifts = history.drifts(found)
    assert len(drifts) == 4
    assert all("the last 5 runs are 1." in line for line in drifts)
    figure = multiples.multiples(found, [step], {}, INK)
    assert len({each.xaxis for each in figure.data}) == multiples.MOST_PANELS
    assert sum(len(each.x) for each in figure.data) <= 5000


def test_lines_of_a_sweep_are_named_by_what_differs(scenes: dict[str, Path]) -> None:
    run = store.outline("run-11", scenes["much"])
    names = [contender.id for contender in run.header.contenders]
    found = lines.lines(store.frame(run.path), names)
    swept = [f"{names[2]} hashes={n}" for n in (2, 4, 8)]
    assert found.order == (*names[:2], *swept)
    assert found.swept == ("hashes",)
    assert set(found.table["entry"]) == set(names)
    styles = looks.styles((line, found.variants[line]) for line in found.order)
    assert len({styles[name].color for name in swept}) == 1
    assert len({styles[name].marker for name in swept}) == 3
