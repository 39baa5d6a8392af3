"""Laws of the answer in plain sentences."""

import re
from dataclasses import replace

from harness.schema import Outcome
from harness.telling.answer import answer

STEADY = tuple(range(1_000_000, 1_000_010))


def test_the_answer_names_winners_crossings_failures_and_conditions(long_seq) -> None:
    text = answer(long_seq)
    assert "transformer is fastest from 512 to 2k tokens (3.04 to 18.8 ms)" in text
    assert "reformer from 4k to 8k tokens (53.1 to 103 ms)" in text
    assert "at 8k 2.64 times faster than transformer" in text
    assert "reformer needs least memory from 512 to 8k tokens" in text
    assert "beyond 2k not all contenders are in the comparison" in text
    assert "reformer is faster from 3.06k tokens (3.03k to 3.09k)" in text
    assert "transformer-eager is never faster" in text
    assert "needs less memory at 512 but no longer at 2k" in text
    assert "Of 15 cells 13 were measured: transformer-eager ran out of memory in forward" in text
    assert "Example CPU 9000, float32, 1 thread" in text
    assert "median process CPU time of 10 samples" in text


def test_two_phases_are_answered_in_at_most_five_sentences(long_seq) -> None:
    both = [
        replace(each, cell=replace(each.cell, phase=phase))
        for phase in ("train_step", "forward")
        for each in long_seq.results
    ]
    cells = tuple(each.cell for each in both)
    run = replace(long_seq, results=tuple(both), header=replace(long_seq.header, cells=cells))
    sentences = re.split(r"(?<=[.:])\s+(?=[A-Z])", answer(run))
    assert 2 <= len(sentences) <= 5
    assert sentences[0].startswith("In forward, ")
    assert sentences[1].startswith("In train_step, ")


def test_no_winner_is_claimed_where_intervals_overlap(make_cell, make_result, make_run) -> None:
    run = make_run([make_result(make_cell(name), STEADY) for name in ("one", "two")])
    text = answer(run)
    assert "one and two, between whom no difference can be shown, are fastest at 512 tokens" in text
    assert "Against one, in forward two is never faster" in text
    assert "times faster" not in text


def test_nobody_is_named_where_nobody_is_ahead(make_cell, make_result, make_run) -> None:
    run = make_run([make_result(make_cell(name), STEADY) for name in ("one", "two", "three")])
    text = answer(run)
    assert "no contender can be shown to be ahead in latency at 512 tokens (1.00 ms)" in text
    assert "two and three are never faster" in text


def test_a_lead_that_noise_could_undo_is_called_so(make_curves, make_run) -> None:
    shape = {"one": lambda n: 1e6, "two": lambda n: 1e6 * (0.999 if n > 4096 else 1.2)}
    assert "within noise at 8k" in answer(make_run(make_curves(shape)))


def test_a_contender_without_a_length_in_common_is_not_compared(
    make_cell, make_result, make_run
) -> None:
    results = [make_result(make_cell("one"), STEADY), make_result(make_cell("two", 1024), STEADY)]
    assert "two is faster at no length in common" in answer(make_run(results))


def test_a_contender_that_is_alone_at_a_length_is_called_so(
    make_cell, make_result, make_run
) -> None:
    gone = make_result(make_cell("one", 1024), outcome=Outcome.TIMEOUT, reason="after 300 s")
    results = [
        *[make_result(make_cell(name), STEADY) for name in ("one", "two")],
        gone,
        make_result(make_cell("two", 1024), STEADY),
    ]
    assert "at 1k without a rival" in answer(make_run(results))


def test_unequal_sizes_approximations_and_launches_are_told(
    make_cell, make_result, make_run
) -> None:
    results = [
        make_result(make_cell(), STEADY),
        make_result(
            make_cell("reformer"),
            STEADY,
            facts={"parameters": 1_500_000, "exact": False, "launch_bound": True},
        ),
    ]
    text = answer(make_run(results))
    assert "reformer approximates full attention" in text
    assert "transformer has 13 % more parameters than reformer" in text
    assert "in 1 cell the device waited for launches by the host" in text


def test_equal_exact_contenders_get_no_caution(long_seq) -> None:
    assert "parameters" not in answer(long_seq)
    assert "approximate" not in answer(long_seq)


def test_a_run_of_failures_claims_nothing(make_cell, make_result, make_run) -> None:
    failed = make_result(make_cell(), outcome=Outcome.CRASHED, reason="signal 9")
    text = answer(make_run([failed]))
    assert text.startswith("No cell was measured to its end")
    assert "transformer crashed in forward at 512" in text


def test_a_run_that_was_stopped_says_how_much_is_missing(make_cell, make_result, make_run) -> None:
    cells = [make_cell(seq_len=n) for n in (512, 1024, 2048)]
    text = answer(make_run([make_result(cells[0], STEADY)], cells=cells))
    assert "Of 3 cells 1 were measured: 2 cells were not run" in text


def test_a_run_without_cells_has_an_answer_too(make_run) -> None:
    assert answer(make_run([])).startswith("No cell was measured to its end")


def test_control_characters_of_names_do_not_reach_the_terminal(
    make_cell, make_result, make_run
) -> None:
    run = make_run([make_result(make_cell(), STEADY)], fields={"cpu": "evil\x1b[31m\ncpu"})
    assert "\x1b" not in answer(run)
    assert "evil?[31m cpu" in answer(run)


def test_an_early_lead_within_noise_is_not_claimed(make_cell, make_result, make_run) -> None:
    ahead = tuple(sample - 1 for sample in STEADY)
    behind = tuple(2 * sample for sample in STEADY)
    results = [
        make_result(make_cell("one", 512), STEADY),
        make_result(make_cell("one", 1024), STEADY),
        make_result(make_cell("two", 512), ahead),
        make_result(make_cell("two", 1024), behind),
    ]
    assert "two is never faster" in answer(make_run(results))


def test_winners_that_cannot_be_told_apart_stand_in_the_order_of_the_suite(
    make_cell, make_result, make_run
) -> None:
    ahead, behind = (tuple(sample + d for sample in STEADY) for d in (-1, 10**6))
    results = [
        make_result(make_cell("one"), STEADY),
        make_result(make_cell("two"), ahead),
        make_result(make_cell("three"), behind),
    ]
    assert "In forward, one and two, between whom" in answer(make_run(results))
