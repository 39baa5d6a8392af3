"""Laws of grouping a run into curves."""

from dataclasses import replace

from harness.judging.panels import in_order, metrics, panels, unit
from harness.schema import Outcome

STEADY = tuple(range(100, 110))


def test_cells_that_differ_only_in_contender_and_length_share_a_panel(long_seq) -> None:
    (panel,) = panels(long_seq)
    assert panel.title == "forward"
    assert panel.lengths == (512, 1024, 2048, 4096, 8192)
    assert [line.label for line in panel.lines] == ["transformer", "transformer-eager", "reformer"]
    assert panel.baseline.label == "transformer"


def test_phases_come_in_order_and_other_differences_are_named(
    make_cell, make_result, make_run
) -> None:
    cells = [
        make_cell(phase=phase, dtype=dtype, batch=2)
        for phase in ("train_step", "forward")
        for dtype in ("float32", "bfloat16")
    ]
    found = panels(make_run([make_result(cell, STEADY) for cell in cells]))
    assert [panel.title for panel in found] == [
        "forward, dtype bfloat16",
        "forward, dtype float32",
        "train_step, dtype bfloat16",
        "train_step, dtype float32",
    ]


def test_the_suite_orders_contenders_whatever_the_order_of_execution(
    make_cell, make_result, make_run
) -> None:
    run = make_run([make_result(make_cell(name), STEADY) for name in ("zeta", "alpha", "beta")])
    shuffled = replace(run, results=run.results[::-1])
    assert panels(shuffled) == panels(run)
    assert panels(run)[0].baseline.label == "zeta"


def test_options_that_vary_within_a_contender_are_part_of_its_label(
    make_cell, make_result, make_run
) -> None:
    cells = [make_cell("reformer", options={"hashes": n, "chunk": 64}) for n in (1, 4)]
    (panel,) = panels(make_run([make_result(cell, STEADY) for cell in cells]))
    assert [line.label for line in panel.lines] == ["reformer hashes=1", "reformer hashes=4"]


def test_only_cells_that_ended_well_give_numbers(make_cell, make_result, make_run) -> None:
    wrong = make_result(make_cell(), STEADY, outcome=Outcome.WRONG, reason="off by 3")
    (panel,) = panels(make_run([wrong]))
    assert panel.baseline.samples(512, "latency") is None
    assert panel.baseline.curve("latency") == {}
    assert panel.common_lengths("latency") == []


def test_throughput_is_tokens_over_latency(make_cell, make_result, make_run) -> None:
    run = make_run([make_result(make_cell(batch=2), (1_000_000_000, 500_000_000))])
    (panel,) = panels(run)
    assert panel.baseline.samples(512, "throughput") == (1024, 2048)
    assert unit(run, "throughput") == "token/s"


def test_common_lengths_are_those_that_every_line_with_numbers_has(long_seq) -> None:
    (panel,) = panels(long_seq)
    assert panel.common_lengths("latency") == [512, 1024, 2048]


def test_only_metrics_that_were_asked_for_or_measured_are_told(
    make_cell, make_result, make_run
) -> None:
    run = make_run([make_result(make_cell(), STEADY)], metrics=("latency",))
    assert metrics(run) == ["latency"]
    assert metrics(run, ("throughput", "energy")) == ["throughput"]
    assert metrics(make_run([], metrics=("latency", "peak_memory"))) == ["latency", "peak_memory"]


def test_a_run_without_cells_has_no_panels(make_run) -> None:
    assert panels(make_run([])) == ()


def test_cells_are_read_by_phase_contender_and_length(make_cell, make_result, make_run) -> None:
    wanted = [
        make_cell(name, length, phase=phase)
        for phase in ("forward", "train_step")
        for name in ("zeta", "alpha")
        for length in (512, 1024)
    ]
    run = make_run([make_result(cell, STEADY) for cell in wanted])
    assert in_order(reversed(wanted), run) == wanted
