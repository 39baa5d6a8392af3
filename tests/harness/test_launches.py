"""Laws of cells that several processes time."""

from dataclasses import replace

import pytest

from harness import launches, runner
from harness.schema import Environment, Job, Measurement, Outcome, Protocol, Result

PROTOCOL = Protocol(launches=3)
MACHINE = Environment(fields={})


def timed(cell, *samples: float, stop: str = "enough", **changes) -> Result:
    latency = Measurement(
        metric="latency", unit="ns", better="lower", samples=samples, warmups=(9.0,), stop=stop
    )
    size = Measurement(metric="peak_memory", unit="byte", better="lower", samples=(5,))
    facts = {"launches": 1, "load": [samples[0]], "impl": "sdpa"}
    result = Result(
        cell=cell, outcome=Outcome.OK, measurements=(latency, size), facts=facts,
        environment="e", wall_ns=10, measured_ns=4,
    )  # fmt: skip
    return replace(result, **changes)


def again(cell, *samples: float, **changes) -> Result:
    result = timed(cell, *samples)
    return replace(result, measurements=result.measurements[:1], **changes)


def test_samples_are_strung_together_and_counted_by_process(make_cell) -> None:
    cell = make_cell()
    merged = launches.merge(timed(cell, 1.0, 2.0), again(cell, 3.0))
    merged = launches.merge(merged, again(cell, 4.0, 5.0))
    latency, size = merged.measurements
    assert latency.samples == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert latency.launches == (2, 1, 2)
    assert latency.warmups == (9.0,) * 3
    assert (size.samples, size.launches) == ((5,), ())
    assert merged.facts == {"launches": 3, "load": [1.0, 3.0, 4.0], "impl": "sdpa"}
    assert (merged.wall_ns, merged.measured_ns) == (30, 12)


def test_every_reason_to_stop_is_told_once(make_cell) -> None:
    cell = make_cell()
    merged = launches.merge(timed(cell, 1.0), timed(cell, 2.0, stop="max_samples"))
    merged = launches.merge(merged, timed(cell, 2.0))
    assert merged.measurements[0].stop == "enough, max_samples"


def test_a_cell_wants_launches_until_it_has_them(make_cell) -> None:
    result = timed(make_cell(), 1.0)
    for _ in range(2):
        assert launches.wanting(result, PROTOCOL)
        result = launches.merge(result, again(result.cell, 1.0))
    assert not launches.wanting(result, PROTOCOL)


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": Outcome.WRONG, "reason": "off"},
        {"facts": {}},  # nothing was timed
        {"facts": {"launches": 3}},
    ],
)
def test_a_cell_that_failed_or_was_not_timed_wants_none(make_cell, changes: dict) -> None:
    assert not launches.wanting(timed(make_cell(), 1.0, **changes), PROTOCOL)


def test_a_launch_that_spent_its_time_is_not_repeated(make_cell) -> None:
    assert not launches.wanting(timed(make_cell(), 1.0, stop="max_time"), PROTOCOL)


def test_a_launch_that_fails_makes_the_cell_fail(make_cell) -> None:
    cell = make_cell()
    crash = Result(cell=cell, outcome=Outcome.CRASHED, reason="died by SIGSEGV", stage="latency")
    merged = launches.merge(timed(cell, 1.0), crash)
    assert (merged.outcome, merged.stage) == (Outcome.CRASHED, "latency")
    assert merged.reason == "died by SIGSEGV (launch 2)"
    assert merged.measurements[0].samples == (1.0,)


def test_numbers_of_a_cell_that_proves_wrong_in_a_later_launch_are_not_kept(make_cell) -> None:
    wrong = Result(cell=make_cell(), outcome=Outcome.WRONG, reason="off by 0.1")
    assert launches.merge(timed(make_cell(), 1.0), wrong).measurements == ()


def test_times_of_another_environment_are_not_mixed_in(make_cell) -> None:
    first = timed(make_cell(), 1.0)
    assert launches.merge(first, again(make_cell(), 2.0, environment="other")) is first


def test_what_was_only_proved_takes_the_environment_of_its_first_times(make_cell) -> None:
    proved = replace(timed(make_cell(), 1.0), measurements=(), facts={"launches": 0})
    merged = launches.merge(proved, again(make_cell(), 2.0, environment="other"))
    assert merged.environment == "other"
    assert merged.measurements[0].samples == (2.0,)


def in_turns(cell, sitting: str, *samples: float, **changes) -> Result:
    result = again(cell, *samples)
    (latency,) = result.measurements
    latency = replace(latency, launches=(len(samples),), sittings=(sitting,))
    return replace(result, measurements=(latency,), **changes)


def untimed(cell, **facts) -> Result:
    """What the first launch leaves where contenders take turns."""
    result = timed(cell, 1.0)
    return replace(result, measurements=result.measurements[1:], facts={"launches": 0} | facts)


def test_launches_at_sittings_keep_their_names_those_alone_have_none(make_cell) -> None:
    cell = make_cell()
    merged = launches.merge(untimed(cell), in_turns(cell, "x", 3.0, 4.0))
    merged = launches.merge(merged, in_turns(cell, "y", 5.0))
    size, latency = merged.measurements
    assert (latency.launches, latency.sittings) == ((2, 1), ("x", "y"))
    assert (size.metric, size.sittings) == ("peak_memory", ())
    assert merged.facts["launches"] == 2
    assert merged.facts["load"] == [3.0, 5.0]
    alone = launches.merge(timed(cell, 1.0), in_turns(cell, "x", 2.0)).measurements[0]
    assert (alone.launches, alone.sittings) == ((1, 1), ("", "x"))
    both = launches.merge(timed(cell, 1.0), again(cell, 2.0)).measurements[0]
    assert both.sittings == ()


def test_in_turns_a_launch_that_spent_its_time_is_repeated_until_there_are_three(make_cell) -> None:
    protocol = Protocol(launches=5, pairing="chunked")
    slow = {"stop": "max_time"}
    for done, more in ((1, True), (2, True), (3, False)):
        result = timed(make_cell(), 1.0, facts={"launches": done}, **slow)
        assert launches.wanting(result, protocol) == more


def company(make_cell, *changes: dict, pairing: str = "chunked") -> list[Job]:
    protocol = Protocol(launches=2, pairing=pairing)
    cells = [make_cell(**change) for change in changes]
    return [Job(cell=cell, metrics=("latency",), protocol=protocol) for cell in cells]


def names(companies: list[list[Job]]) -> list[list[tuple]]:
    return [[(j.cell.contender, j.cell.seq_len, j.cell.phase) for j in each] for each in companies]


def test_who_sits_together_differs_in_the_contender_only(make_cell) -> None:
    jobs = company(
        make_cell,
        {"contender": "a"},
        {"contender": "b", "model": "reformer", "attention": "lsh", "options": {"chunk": 4}},
        {"contender": "a", "seq_len": 9},
        {"contender": "b", "phase": "train_step"},
    )
    results = {job.cell.id: untimed(job.cell) for job in jobs}
    found = names(launches.companies(jobs, results))
    assert found == [
        [("a", 512, "forward"), ("b", 512, "forward")],
        [("a", 9, "forward")],
        [("b", 512, "train_step")],
    ]


@pytest.mark.parametrize("changes", [{"pairing": "apart"}, {"device": "cuda"}])
def test_apart_and_on_cuda_everybody_is_alone(make_cell, changes: dict) -> None:
    pairing = changes.pop("pairing", "chunked")
    jobs = company(
        make_cell, {"contender": "a", **changes}, {"contender": "b", **changes}, pairing=pairing
    )
    results = {job.cell.id: untimed(job.cell) for job in jobs}
    assert [len(each) for each in launches.companies(jobs, results)] == [1, 1]


def sat(make_cell, sizes: dict[str, int], baseline: str | None = None) -> list[list[str]]:
    """Who sits together of contenders that filled so much of 100 bytes."""
    jobs = company(make_cell, *({"contender": name} for name in sizes))
    results = {
        job.cell.id: untimed(
            job.cell, resident_bytes=sizes[job.cell.contender], available_bytes=100
        )
        for job in jobs
    }
    found = launches.companies(jobs, results, baseline)
    return [[job.cell.contender for job in each] for each in found]


def test_a_company_that_does_not_fit_into_memory_is_split(make_cell) -> None:
    sizes = {"a": 30, "b": 30, "c": 50, "d": 5}
    assert sat(make_cell, sizes) == [["a", "b"], ["c", "d"]]
    assert sat(make_cell, sizes, "d") == [["d", "a"], ["d", "b"], ["d", "c"]]
    assert sat(make_cell, {"a": 90}) == [["a"]]


def test_the_baseline_sits_with_each_part_of_a_large_company(make_cell) -> None:
    names = dict.fromkeys("abcdefghi", 1)
    assert sat(make_cell, names) == [list("abcdef"), list("ghi")]
    assert sat(make_cell, names, "c") == [list("cabdef"), list("cghi")]
    assert sat(make_cell, names, "elsewhere") == [list("abcdef"), list("ghi")]


class Notes:
    """A sink and a watcher that remember what matters here."""

    def __init__(self) -> None:
        self.log: list[tuple] = []
        self.kept: dict[str, Result] = {}

    def environment(self, environment) -> None: ...
    def abandon(self, cell, reason) -> None: ...
    def stage(self, name) -> None: ...
    def ended(self, result) -> None: ...
    def started(self, cell) -> None: ...

    def start(self, cell, attempt) -> None:
        self.log.append(("start", cell.id))

    def end(self, result) -> None:
        self.kept[result.cell.id] = result

    def launch(self, number, of, cells) -> None:
        self.log.append(("launch", number, of, cells))


def jobs_of(make_cell, count: int) -> list[Job]:
    return [
        Job(cell=make_cell(seq_len=2**i), metrics=("latency",), protocol=PROTOCOL)
        for i in range(3, 3 + count)
    ]


def test_rounds_take_all_cells_in_turn_and_what_is_known_is_kept_after_each(make_cell) -> None:
    asked, notes = [], Notes()

    def execute(job, on_stage):
        asked.append((job.launch, job.cell.seq_len))
        return timed(job.cell, float(job.launch)), MACHINE

    results = runner.run(jobs_of(make_cell, 6), execute, notes, notes)
    assert [launch for launch, _ in asked] == [0] * 6 + [1] * 6 + [2] * 6
    rounds = [[n for _, n in asked[i : i + 6]] for i in (0, 6, 12)]
    assert all(sorted(each) == rounds[0] for each in rounds)
    assert len({tuple(each) for each in rounds}) == 3  # each round has an order of its own
    assert [note for note in notes.log if note[0] == "launch"] == [
        ("launch", 2, 3, 6),
        ("launch", 3, 3, 6),
    ]
    assert all(result.measurements[0].launches == (1, 1, 1) for result in results)
    assert tuple(notes.kept.values()) == results
    assert [note[0] for note in notes.log].count("start") == 6  # one attempt each


def test_an_interrupted_later_launch_loses_nothing(make_cell) -> None:
    notes = Notes()

    def execute(job, on_stage):
        if job.launch == 1:
            raise KeyboardInterrupt
        return timed(job.cell, 1.0), MACHINE

    with pytest.raises(KeyboardInterrupt):
        runner.run(jobs_of(make_cell, 2), execute, notes, notes)
    assert [r.outcome for r in notes.kept.values()] == [Outcome.OK] * 2


def test_a_resumed_run_makes_up_for_missing_launches(make_cell) -> None:
    notes, asked = Notes(), []

    def execute(job, on_stage):
        asked.append(job.launch)
        return timed(job.cell, 2.0), MACHINE

    jobs = jobs_of(make_cell, 1)
    known = (timed(jobs[0].cell, 1.0),)
    assert runner.run([], execute, notes, notes, known=known, again=jobs) == ()
    assert asked == [1, 2]
    assert notes.kept[jobs[0].cell.id].measurements[0].samples == (1.0, 2.0, 2.0)


def test_contenders_sit_together_as_often_as_there_are_launches(make_cell) -> None:
    sat: list[tuple] = []
    jobs = [
        replace(job, cell=make_cell(contender, seq_len=n))
        for n in (8, 16)
        for contender in "abc"
        for job in company(make_cell, {})
    ]

    def together(company, name, on_stage):
        sat.append((name, {job.launch for job in company}, {job.cell.seq_len for job in company}))
        return [(in_turns(job.cell, name, 1.0), MACHINE) for job in company]

    notes, fresh = Notes(), iter("pqrstuvw")
    results = runner.run(
        jobs,
        lambda job, on_stage: (untimed(job.cell), MACHINE),
        notes,
        notes,
        together=together,
        name=lambda: next(fresh),
    )
    assert [(name, launch) for name, launch, _ in sat] == [
        ("p", {1}), ("q", {1}), ("r", {2}), ("s", {2}),
    ]  # fmt: skip
    assert sorted(next(iter(n)) for _, _, n in sat) == [8, 8, 16, 16]
    assert all(len(r.measurements[-1].sittings) == 2 for r in results)
    assert len({r.measurements[-1].sittings for r in results}) == 2


def test_who_runs_out_of_memory_beside_others_has_one_try_alone(make_cell) -> None:
    jobs = company(make_cell, {"contender": "a"}, {"contender": "b"})
    sat: list[list[str]] = []

    def together(company, name, on_stage):
        sat.append([job.cell.contender for job in company])
        return [
            (Result(cell=job.cell, outcome=Outcome.OUT_OF_MEMORY, reason="full"), None)
            if job.cell.contender == "b" and len(company) == 2
            else (in_turns(job.cell, name, 1.0), MACHINE)
            for job in company
        ]

    notes = Notes()
    results = runner.run(
        jobs,
        lambda job, on_stage: (untimed(job.cell), MACHINE),
        notes,
        notes,
        together=together,
        name=lambda: f"s{len(sat)}",
    )
    assert sat == [["a", "b"], ["b"], ["a", "b"], ["b"]]
    assert [r.outcome for r in results] == [Outcome.OK, Outcome.OK]
    assert results[1].measurements[-1].sittings == ("s0-b", "s2-b")
