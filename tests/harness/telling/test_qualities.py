"""What is told of trained contenders: scores beside costs, ladders, the cheapest near the best."""

from dataclasses import replace

import pytest

from harness.schema import Evaluation, Measurement, Outcome, Result, Run
from harness.telling import qualities
from harness.telling.answer import answer

FACTS = {
    "score": "accuracy", "score_better": "higher", "score_floor": 0.95, "score_target": 0.95,
    "score_baselines": {"chance": 1 / 127}, "training": {"eval_every": 25},
}  # fmt: skip


def measured(name: str, *samples: float, unit: str = "1") -> Measurement:
    return Measurement(metric=name, unit=unit, better="higher", samples=samples)  # pyright: ignore[reportArgumentType]


def trained(make_cell, name: str, scores, step_ns: float, ladder=(), **facts) -> Result:
    cell = make_cell(name, 128, task="copy", phase="train_step", batch=16)
    spent = step_ns * 100
    curves = [[[50, spent / 2, 2.0, score / 2], [100, spent, 1.0, score]] for score in scores]
    above = [score >= 0.95 for score in scores]
    return Result(
        cell=cell,
        outcome=Outcome.OK,
        measurements=(
            measured("quality", *scores),
            measured("latency", step_ns, unit="ns"),
            measured("train_time", *[spent] * len(scores), unit="ns"),
            measured("train_steps", *[100] * len(scores)),
            measured("coverage", *[0.5] * len(scores)),
            *(measured(rung, *scores) for rung in ladder),
        ),
        facts={**FACTS, "curves": curves, "above_floor": above, **facts},
    )


@pytest.fixture
def learning(make_cell, make_run) -> Run:
    rungs = ("quality_plain", "quality_hashes_1", "quality_dense", "quality_hashes_8")
    results = [
        trained(make_cell, "full", (1.0, 0.999, 1.0), 10e6),
        trained(make_cell, "lsh", (0.99, 0.995, 0.985), 5e6, rungs),
        trained(make_cell, "local", (0.008, 0.007, 0.009), 1e6),
    ]
    return make_run(results, metrics=("quality", "latency"), evaluation=Evaluation(margin=0.02))


def test_the_cheapest_within_the_margin_of_the_best_is_named(learning: Run) -> None:
    told = qualities.answer(learning)
    assert told == (
        "On copy at 128 tokens, full and lsh are within 0.0200 of the best accuracy (1.00); the "
        "cheapest of them is lsh, 5.00 ms a step; below the floor 0.95: local (0.00800)."
    )
    narrow = replace(learning, header=replace(learning.header, evaluation=Evaluation(margin=0.005)))
    assert "full is within 0.00500" in qualities.answer(narrow)
    assert told in answer(learning)


def test_fewer_bits_are_better_where_the_task_says_so(make_cell, make_run) -> None:
    lower = {"score": "bits per byte", "score_better": "lower", "score_floor": 3.6}
    results = [
        trained(make_cell, "full", (2.5,), 10e6, **lower, above_floor=[True]),
        trained(make_cell, "local", (2.0,), 20e6, **lower, above_floor=[True]),
    ]
    told = qualities.answer(make_run(results, metrics=("quality",)))
    assert "local is within 0.0400 of the best bits per byte (2.00)" in told


def test_scores_stand_with_their_range_beside_what_is_seen_and_what_it_costs(learning: Run) -> None:
    sheet = qualities.sheets(learning)[0]
    assert sheet.title == "copy at 128 tokens: accuracy"
    rows = {row[0]: row for row in sheet.rows}
    assert rows["lsh"][1:4] == ("0.990 (0.985 to 0.995)", "3 of 3 above", "50 %")
    assert rows["local"][2] == "0 of 3 above"
    assert rows["full"][7] == "205000"  # tokens/s: 2048 in 10 ms
    assert "chance 0.00787" in sheet.notes[0]


def test_the_ladder_goes_from_all_pairs_by_fewer_rounds_to_plain(learning: Run) -> None:
    (sheet,) = [sheet for sheet in qualities.sheets(learning) if "ladder" in sheet.title]
    assert sheet.header == ("trained as", "dense", "8", "1", "plain")
    assert [row[0] for row in sheet.rows] == ["lsh"]


def test_at_equal_cost_scores_are_those_after_the_same_training_time(learning: Run) -> None:
    (sheet,) = [sheet for sheet in qualities.sheets(learning) if "equal cost" in sheet.title]
    rows = {row[0]: row[1:] for row in sheet.rows}
    assert sheet.header[1:] == ("500 ms", "1.00 s", "2.00 s")
    assert rows["full"][0] == "0.500 (0.499 to 0.500)"  # after half its time: the first look
    assert rows["lsh"][0] == "0.990 (0.985 to 0.995)"  # it had ended by then


def test_a_contender_that_failed_says_why(make_cell, make_run, learning: Run) -> None:
    cell = make_cell("wild", 128, task="copy", phase="train_step", batch=16)
    lost = Result(cell=cell, outcome=Outcome.DIVERGED, reason="the loss is not finite at step 7")
    run = make_run([*learning.results, lost], metrics=("quality",))
    row = next(row for row in qualities.sheets(run)[0].rows if row[0] == "wild")
    assert row[1] == "diverged: the loss is not finite at step 7"
    assert "wild diverged in training" in answer(run)


def test_a_needle_is_told_by_length_and_depth(make_cell, make_run) -> None:
    figures = {(64, 0): 1.0, (64, 1): 0.9, (128, 0): 0.5, (128, 1): 0.25}
    found = trained(make_cell, "full", (0.7,), 10e6)
    more = [measured(f"quality_length_{n}_depth_{z}", v) for (n, z), v in figures.items()]
    more.append(measured("quality_effective_length", 64))
    run = make_run(
        [replace(found, measurements=(*found.measurements, *more))], metrics=("quality",)
    )
    (sheet,) = [sheet for sheet in qualities.sheets(run) if "depth" in sheet.title]
    assert sheet.header == ("", "length", "depth 0", "depth 1")
    assert sheet.rows == (("full", "64", "1.00", "0.900"), ("full", "128", "0.500", "0.250"))
    assert "full 64.0" in sheet.notes[0]
