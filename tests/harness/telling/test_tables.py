"""Laws of the tables of a run."""

import pytest

from harness.scaling import Crossover
from harness.schema import Outcome
from harness.telling.tables import bounds, sheets

STEADY = tuple(range(1_000_000, 1_000_010))


def rows(sheet) -> dict[str, list[str]]:
    return {row[0]: list(row[1:]) for row in (sheet.header, *sheet.rows)}


def test_lengths_go_across_and_contenders_down_with_ratios_to_the_first(long_seq) -> None:
    latency = sheets(long_seq)[0]
    assert latency.title == "forward: latency [ms]"
    table = rows(latency)
    assert table[""] == ["512", "1k", "2k", "4k", "8k"]
    assert all("(" not in text for text in table["transformer"])
    assert table["reformer"] == [
        *["10.1 (3.34x)", "16.3 (2.63x)", "28.6 (1.52x)", "53.1 (0.77x)", "103 (0.38x)"]
    ]
    assert table["transformer-eager"][3:] == ["out of memory", "implied"]


@pytest.mark.parametrize("outcome", [each for each in Outcome if each is not Outcome.OK])
def test_a_failure_is_a_word_and_never_a_number(make_cell, make_result, make_run, outcome) -> None:
    # What was measured before the failure is stored, but no number stands without a good end.
    failed = make_result(make_cell(), STEADY, 2**20, outcome=outcome, reason="why")
    run = make_run([failed, make_result(make_cell(seq_len=1024), STEADY, 2**20)])
    for sheet in sheets(run)[0::2]:
        assert rows(sheet)["transformer"][0] == outcome.value.replace("_", " ")


def test_no_cell_is_blank_whatever_is_missing(make_cell, make_result, make_run) -> None:
    cells = [make_cell(), make_cell(seq_len=1024), make_cell("reformer", 2048)]
    results = [make_result(cells[0], STEADY), make_result(cells[2])]
    latency, _, memory, _ = sheets(make_run(results, cells=cells))
    assert rows(latency)["transformer"] == ["1.00", "not run", "not asked"]
    assert rows(latency)["reformer"] == ["not asked", "not asked", "not measured"]
    assert rows(memory)["transformer"] == ["not measured", "not run", "not asked"]


def test_a_difference_that_cannot_be_shown_is_marked_and_explained(
    make_cell, make_result, make_run
) -> None:
    alike = [make_result(make_cell(name), STEADY, 2**20) for name in ("one", "two")]
    latency, _, memory, _ = sheets(make_run(alike))
    assert rows(latency)["two"] == ["1.00 (~1.00x)"]
    assert any("no difference" in note for note in latency.notes)
    assert rows(memory)["two"] == ["1.00 (1.00x)"]  # counted: equal is equal
    assert len(memory.notes) == 1


def test_times_of_few_samples_are_marked(make_cell, make_result, make_run) -> None:
    few = [
        make_result(make_cell(name), (n,) * 3) for name, n in (("one", 10**6), ("two", 9 * 10**6))
    ]
    assert rows(sheets(make_run(few))[0])["two"] == ["9.00 (~9.00x)"]


def test_one_step_of_the_unit_serves_a_table_unless_numbers_grow_too_long(
    make_cell, make_result, make_run
) -> None:
    near = [make_result(make_cell(seq_len=n), (n * 10**4,) * 6) for n in (512, 8192)]
    far = [make_result(make_cell(seq_len=n), (10**n,) * 6) for n in (2, 11)]
    assert sheets(make_run(near))[0].title.endswith("[ms]")
    wide = sheets(make_run(far))[0]
    assert wide.title == "forward: latency"
    assert wide.header == ("", "2 [ns]", "11 [s]")
    assert rows(wide)["transformer"] == ["100", "100"]


def test_growth_names_exponent_range_doubling_and_crossover(long_seq) -> None:
    _, growth, _, memory = sheets(long_seq)
    table = rows(growth)
    assert table["transformer"][-1] == "baseline"
    exponent, between, doubling, crossing = table["reformer"]
    assert exponent.startswith("n^0.92 (0.92 to")
    assert between == "2k and 8k (fixed: at most 35 %)"
    assert doubling == "1.89x"
    assert crossing == "3.06k (3.03k to 3.09k)"
    assert table["transformer-eager"][-1] == "not reached up to 2k (out of memory at 4k)"
    assert rows(memory)["reformer"][-1] == "every length, 512 to 8k"


def test_a_baseline_that_failed_leaves_no_ratio_and_is_named(
    make_curves, make_result, make_run
) -> None:
    results = make_curves({"one": lambda n: 1e3 * n, "two": lambda n: 2e3 * n})
    last = results[4]
    results[4] = make_result(last.cell, outcome=Outcome.TIMEOUT, reason="after 300 s")
    latency, growth, *_ = sheets(make_run(results))
    assert "(" not in rows(latency)["two"][-1]
    assert rows(growth)["two"][-1] == "not reached up to 4k (one timeout at 8k)"


def test_a_lead_within_noise_is_called_so(make_curves, make_run) -> None:
    results = make_curves(
        {"one": lambda n: 1e6, "two": lambda n: 1e6 * (0.999 if n > 4096 else 1.2)}
    )
    crossing = rows(sheets(make_run(results))[1])["two"][-1]
    assert crossing.endswith("; within noise at 8k")
    assert "at least" in crossing


def test_the_words_of_bounds_tell_which_one_is_missing() -> None:
    ends = {"length": 2048.0, "changes": 1}
    assert bounds(Crossover(lo=1536.5, hi=3072, **ends)) == " (1.50k to 3k)"
    assert bounds(Crossover(lo=None, hi=3072, **ends)) == " (at most 3k)"
    assert bounds(Crossover(lo=1024, hi=None, **ends)) == " (at least 1k)"
    assert bounds(Crossover(lo=None, hi=None, **ends)) == ""


def test_a_ratio_to_nothing_is_left_out(make_cell, make_result, make_run) -> None:
    some = [make_result(make_cell(name), STEADY, size) for name, size in (("one", 0), ("two", 5))]
    assert rows(sheets(make_run(some))[2])["two"] == ["5.00"]


def test_too_few_lengths_have_no_exponent(make_curves, make_run) -> None:
    run = make_run(make_curves({"one": lambda n: n}, lengths=(512, 1024)))
    assert rows(sheets(run)[1])["one"] == ["fewer than 3 lengths", "-", "-", "baseline"]


def test_throughput_has_a_table_on_demand(long_seq) -> None:
    (sheet,) = sheets(long_seq, ("throughput",))
    assert sheet.title == "forward: throughput [ktoken/s]"
    assert rows(sheet)["transformer"][0] == "169"


def test_memory_of_zero_is_shown_without_ratio_or_exponent(
    make_cell, make_result, make_run
) -> None:
    results = [
        make_result(make_cell(name, n), STEADY, 0) for name in ("one", "two") for n in (1, 2, 3)
    ]
    _, _, memory, growth = sheets(make_run(results))
    assert rows(memory)["two"] == ["0 (1.00x)"] * 3
    assert rows(growth)["two"] == ["fewer than 3 lengths", "-", "-", "no length in common"]


def test_an_empty_run_has_no_tables(make_run) -> None:
    assert sheets(make_run([])) == []
