from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import suite
from harness.schema import Protocol

FOLDER = Path(__file__).parents[2] / "suites"
SUITES = sorted(FOLDER.glob("*.yaml"))
METRICS = ["latency", "peak_memory", "flops"]
VALID = """\
version: 1
name: example
question: Which is fastest?
contenders:
  - {id: transformer, model: transformer, impl: sdpa}
  - {id: local, model: transformer, attention: local, options: {chunk: 1k}}
  - {id: reformer, model: reformer, options: {hashes: 4}}
axes:
  phase: [forward, train_step]
  seq_len: {cpu: [512, 1k], cuda: {pow2: [10, 12]}}
fixed: {d_model: 256, heads: 4, layers: 2}
metrics: [latency, peak_memory]
protocol:
  {min_samples: 5, max_time_s: {cpu: 1e-3, cuda: 20}, min_time_s: 0, memory_limit_bytes: 4GiB}
gate: {latency: {regress_over: 0.05}}
exclude:
  - {contender: reformer, seq_len: ">512", phase: [train_step], reason: takes long}
include:
  - {contender: reformer, seq_len: 2k, reason: the paper has it}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def load(folder: Path, text: str = VALID, *overrides: str) -> suite.Suite:
    return suite.load(write(folder, text), overrides, metrics=METRICS)


def problems(folder: Path, text: str = VALID, *overrides: str) -> tuple[str, ...]:
    """Return the problems of a suite without the name of its file."""
    with pytest.raises(suite.SuiteError) as caught:
        load(folder, text, *overrides)
    prefix = f"{folder / 'x.yaml'}: "
    assert all(problem.startswith(prefix) for problem in caught.value.problems)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return tuple(problem.removeprefix(prefix) for problem in caught.value.problems)


def test_a_suite_holds_what_its_file_says(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    assert loaded.name == "example"
    assert [c.attention for c in loaded.contenders] == ["full", "local", "lsh"]
    assert [c.impl for c in loaded.contenders] == ["sdpa", "auto", "auto"]
    assert loaded.contenders[1].options == {"chunk": 1024}
    assert loaded.axes["seq_len"] == {"cpu": (512, 1024), "cuda": (1024, 2048, 4096)}
    assert loaded.fixed["dtype"] == {"cpu": "float32", "cuda": "bfloat16"}
    assert loaded.gate == {"latency": {"regress_over": 0.05}}
    assert loaded.text == VALID
    assert loaded.data_path is None


def test_a_protocol_has_defaults_and_values_by_device(tmp_path: Path) -> None:
    loaded = load(tmp_path)
    on_cpu = suite.protocol(loaded, "cpu")
    assert on_cpu == Protocol(
        launches=5,
        pairing="chunked",
        min_samples=5,
        max_time_s=0.001,
        min_time_s=0.0,
        memory_limit_bytes=4 << 30,
    )
    assert suite.protocol(loaded, "cuda").max_time_s == 20.0
    assert suite.protocol(loaded, "cuda").launches == 1
    assert suite.protocol(loaded, "cuda").pairing == "apart"


def test_cells_are_the_product_in_declared_order_with_defaults_filled_in(tmp_path: Path) -> None:
    cells = suite.expand(load(tmp_path), "cpu").cells
    assert [(c.contender, c.phase, c.seq_len) for c in cells[:5]] == [
        ("transformer", "forward", 512),
        ("transformer", "forward", 1024),
        ("transformer", "train_step", 512),
        ("transformer", "train_step", 1024),
        ("local", "forward", 512),
    ]
    first = cells[0]
    assert (first.batch, first.d_ff, first.vocab, first.causal) == (1, 1024, 256, True)
    assert (first.threads, first.seed, first.device, first.data) == (1, 0, "cpu", "stdlib")


def test_excluded_cells_carry_their_reason_and_include_takes_them_back(tmp_path: Path) -> None:
    grid = suite.expand(load(tmp_path), "cuda")
    excluded = {(r.cell.contender, r.cell.phase, r.cell.seq_len, r.reason) for r in grid.excluded}
    assert excluded == {
        ("reformer", "train_step", 1024, "takes long"),
        ("reformer", "train_step", 4096, "takes long"),
    }
    assert [(r.cell.seq_len, r.reason) for r in grid.included] == [(2048, "the paper has it")]
    assert len(grid.cells) + len(grid.excluded) == 3 * 2 * 3


def test_a_suite_without_values_for_a_device_runs_on_the_other_only(tmp_path: Path) -> None:
    loaded = load(tmp_path, VALID, "axes.seq_len={cuda: [1k]}")
    assert len(suite.expand(loaded, "cuda").cells) > 0
    with pytest.raises(suite.SuiteError, match=r"axes\.seq_len: has no value for 'cpu'"):
        suite.expand(loaded, "cpu")
    with pytest.raises(suite.SuiteError, match="unknown device 'cudaa'; did you mean 'cuda'"):
        suite.expand(loaded, "cudaa")


def test_a_suite_that_shares_no_device_between_its_values_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, VALID, "axes.seq_len={cuda: [1k]}", "fixed.layers={cpu: 2}")
    assert found == ("axes.seq_len: has no value for 'cpu'",)


def test_a_suite_that_fixes_its_device_has_cells_of_that_device_anywhere(tmp_path: Path) -> None:
    loaded = load(tmp_path, VALID, "fixed.device=cpu")
    assert suite.expand(loaded, "cuda") == suite.expand(loaded, "cpu")
    assert suite.protocol(loaded, "cuda") == suite.protocol(loaded, "cpu")


def test_a_device_axis_makes_cells_of_each_device_with_its_own_values(tmp_path: Path) -> None:
    loaded = load(tmp_path, VALID, "axes.device=[cpu, cuda]")
    cells = suite.expand(loaded, "cpu").cells
    assert {(c.device, c.dtype) for c in cells} == {("cpu", "float32"), ("cuda", "bfloat16")}
    assert {c.seq_len for c in cells if c.device == "cpu"} == {512, 1024}


def test_an_option_axis_applies_to_the_contenders_that_list_the_option(tmp_path: Path) -> None:
    loaded = load(tmp_path, VALID, "axes.options.hashes=[2, 4]")
    counts: dict[str, int] = {}
    for cell in suite.expand(loaded, "cpu").cells:
        counts[cell.contender] = counts.get(cell.contender, 0) + 1
    assert counts == {"transformer": 4, "local": 4, "reformer": 6}


def test_cell_ids_are_unique(tmp_path: Path) -> None:
    loaded = load(
        tmp_path, VALID, "axes.options.hashes=[2, 4]", "axes.seed=[0, 1]", "axes.batch=[1, 2]"
    )
    ids = [cell.id for cell in suite.expand(loaded, "cuda").cells]
    assert len(set(ids)) == len(ids)


def test_a_users_corpus_is_named_in_every_cell(tmp_path: Path) -> None:
    corpus = tmp_path / "enwik8"
    corpus.write_bytes(b"text")
    loaded = load(tmp_path, VALID, f"data.path={corpus}")
    assert loaded.data_path == str(corpus)
    assert {cell.data for cell in suite.expand(loaded, "cpu").cells} == {"enwik8"}


def test_all_problems_are_reported_at_once_each_with_its_place(tmp_path: Path) -> None:
    text = VALID.replace("attention: local", "attention: loca").replace("seq_len: {", "seq_lens: {")
    text = text.replace("[latency, peak_memory]", "[latncy]").replace("version: 1", "version: 2")
    found = problems(tmp_path, text, "fixed.heads=3")
    assert [problem.partition(": ")[0] for problem in found] == [
        "version",
        "contenders[1].attention",
        "axes.seq_lens",
        "metrics[0]",
        "seq_len",
        "fixed.d_model",
    ]


BAD = {
    "unknown key": ("axis: 3", "axis: unknown key, did you mean 'axes'?"),
    "unknown axis": ("axes.seq_lens=[1]", "axes.seq_lens: unknown key, did you mean 'seq_len'?"),
    "unknown field": ("fixed.batsh=1", "fixed.batsh: unknown key, did you mean 'batch'?"),
    "unknown variant": (
        "contenders[1].attention=locale",
        "contenders[1].attention: unknown variant 'locale'; did you mean 'local'? known: ",
    ),
    "unknown model": (
        "contenders[2].model=former",
        "contenders[2].model: unknown model 'former'; did you mean 'reformer'? known: ",
    ),
    "unknown impl": (
        "contenders[0].impl=spda",
        "contenders[0].impl: unknown impl 'spda'; did you mean 'sdpa'? known: auto, sdpa, ",
    ),
    "unknown option": (
        "contenders.reformer.options.hashs=1",
        "contenders[2].options.hashs: unknown key, did you mean 'hashes'?",
    ),
    "unknown metric": (
        "metrics=[latncy]",
        "metrics[0]: unknown metric 'latncy'; did you mean 'latency'? known: latency, ",
    ),
    "unknown phase": ("fixed.phase=foward", "fixed.phase: unknown phase 'foward'; did you mean"),
    "unknown dtype": ("fixed.dtype=bf16", "fixed.dtype: unknown dtype 'bf16'"),
    "unknown protocol key": (
        "protocol.timeout=3",
        "protocol.timeout: unknown key, did you mean 'timeout_s'?",
    ),
    "unknown gate metric": (
        "gate={latenc: {regress_over: 1}}",
        "gate.latenc: unknown key, did you mean 'latency'?",
    ),
    "unknown threshold": (
        "gate.latency={regres_over: 1}",
        "gate.latency.regres_over: unknown key, did you mean 'regress_over'?",
    ),
    "wrong type of section": ("axes=3", "axes: expected a mapping, got 3"),
    "wrong type of list": ("contenders=x", "contenders: expected a list, got 'x'"),
    "wrong type of axis": (
        "axes.seq_len=512",
        "axes.seq_len: expected a list, got 512; one value goes under 'fixed'",
    ),
    "wrong type of flag": ("fixed.causal=1", "fixed.causal: expected true or false, got 1"),
    "wrong type of text": ("question=[a]", "question: expected a text, got a list"),
    "empty name": ("name=", "name: expected a text, got nothing"),
    "name unfit for a file": ("name=a/b", "name: expected a name of at most 64 letters"),
    "empty axis": ("axes.phase=[]", "axes.phase: is empty; give at least one value"),
    "empty axes": ("axes={}", "axes: is empty; give it a key or leave it out"),
    "no contenders": ("contenders=[]", "contenders: is empty; give at least one value"),
    "text beyond reason": (f"question={'x' * 2001}", "question: has 2001 characters; at most 2000"),
    "text with an escape": ('question="\\e[2J"', "question: has characters that cannot be printed"),
    "option that is infinite": (
        "contenders[1].options.chunk=1e999",
        "contenders[1].options.chunk: expected a finite number, got inf",
    ),
    "option that is a mapping": (
        "contenders[1].options.chunk={a: 1}",
        "contenders[1].options.chunk: expected a number, a text, true, false or a list of these",
    ),
    "negative power": (
        "axes.seq_len={pow2: [-1, 3]}",
        "axes.seq_len.pow2[0]: expected a whole number of at least 0",
    ),
    "negative length": (
        "axes.seq_len=[-5]",
        "axes.seq_len[0]: expected a whole number of at least 1, such as 512 or 2k, got -5",
    ),
    "length zero": ("axes.seq_len=[0]", "axes.seq_len[0]: expected a whole number of at least 1"),
    "length that is a fraction": ("axes.seq_len=[1.5]", "axes.seq_len[0]: expected a whole num"),
    "length that is a flag": ("axes.seq_len=[true]", "axes.seq_len[0]: expected a whole number"),
    "length beyond reason": (
        "axes.seq_len=[1e15]",
        "axes.seq_len[0]: expected a whole number of at most 2147483647, got 1000000000000000.0",
    ),
    "powers in the wrong order": (
        "axes.seq_len={pow2: [12, 10]}",
        "axes.seq_len.pow2: the first exponent 12 is above the last, 10",
    ),
    "one power": ("axes.seq_len={pow2: [12]}", "axes.seq_len.pow2: expected the first and the"),
    "value twice": ("axes.seq_len=[1k, 1024]", "axes.seq_len[1]: 1024 appears twice"),
    "metric twice": ("metrics=[latency, latency]", "metrics[1]: 'latency' appears twice"),
    "id twice": (
        "contenders[1].id=transformer",
        "contenders[1].id: the id 'transformer' is taken by an entry above",
    ),
    "axis and fixed": ("axes.layers=[1]", None),
    "missing field": ("fixed={d_model: 4, heads: 2}", "layers: is missing; give it under 'axes'"),
    "heads that do not divide": (
        "axes.d_model=[256, 100, 50]",
        "axes.d_model: 50 is not divisible by heads 4",
    ),
    "fewer tokens than bytes": ("fixed.vocab=128", "fixed.vocab: expected a whole number of at le"),
    "option that nobody has": (
        "axes.options.hases=[1]",
        "axes.options.hases: no contender lists the option 'hases'; did you mean 'hashes'?",
    ),
    "rule without a reason": ("exclude=[{seq_len: 512}]", "exclude[0].reason: is missing"),
    "rule for everything": ("exclude=[{reason: why}]", "exclude[0]: matches every cell; name"),
    "rule for nobody": (
        "exclude=[{contender: former, reason: why}]",
        "exclude[0].contender: unknown contender 'former'; did you mean 'reformer'? known: ",
    ),
    "rule with no number": (
        'exclude=[{seq_len: ">8q", reason: why}]',
        "exclude[0].seq_len: expected a whole number of at least 1, such as 512 or 2k, got '8q'",
    ),
    "rule that orders names": (
        'exclude=[{dtype: ">float16", reason: why}]',
        "exclude[0].dtype: dtype has no order; use = or !=",
    ),
    "too few samples": (
        "protocol.max_samples=3",
        "protocol: min_samples 5 is above max_samples 3",
    ),
    "endless time-out": ("protocol.timeout_s=1e9", "protocol.timeout_s: expected a number from"),
    "infinite time": ("protocol.timeout_s=1e999", "protocol.timeout_s: expected a number, got inf"),
    "small memory": ("protocol.memory_limit_bytes=4GB", "protocol.memory_limit_bytes: expected a"),
    "too many cells": (
        f"axes.seed=[{', '.join(map(str, range(2000)))}]",
        "axes: make 24000 cells; at most 10000",
    ),
    "missing corpus": ("data.path=/nowhere/at/all", "data.path: /nowhere/at/all: no such file"),
    "folder as corpus": ("data.path=.", "data.path: . is a folder; name a file"),
    "device as corpus": ("data.path=/dev/null", "data.path: /dev/null: no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_named_with_its_place_and_the_nearest_match(
    case: str, tmp_path: Path
) -> None:
    change, expected = BAD[case]
    if expected is None:  # fixing an axis takes it off the axes, so both only meet in a file
        change, expected = "x", "axes.layers: is also under 'fixed'; keep one of the two"
        text = VALID.replace("axes:\n", "axes:\n  layers: [1]\n")
    else:
        text = VALID + (f"{change}\n" if "=" not in change else "")
    overrides = (change,) if "=" in change else ()
    found = problems(tmp_path, text, *overrides)
    assert any(problem.startswith(expected) for problem in found), found


def test_an_empty_or_unreadable_corpus_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus"
    corpus.touch()
    override = f"data.path={corpus}"
    assert problems(tmp_path, VALID, override) == (f"data.path: {corpus} is empty",)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read anything
    expected = f"data.path: {corpus} cannot be read: permission denied"
    assert problems(tmp_path, VALID, override) == (expected,)


def test_more_problems_than_anybody_reads_are_counted(tmp_path: Path) -> None:
    values = ", ".join(["-1"] * 70)
    found = problems(tmp_path, VALID, f"axes.seq_len=[{values}]")
    assert len(found) == 51
    assert found[-1] == "and 20 more problems"


def test_one_fault_makes_one_problem(tmp_path: Path) -> None:
    text = VALID.replace("attention: local", "attention: locale").replace(
        "contender: reformer, seq_len: 2k", "contender: local"
    )
    assert len(problems(tmp_path, text)) == 1


@pytest.mark.parametrize("key", ["version", "name", "question", "contenders", "metrics"])
def test_a_required_key_is_missed(key: str, tmp_path: Path) -> None:
    tree = yaml.safe_load(VALID)
    del tree[key]
    assert f"{key}: is missing" in problems(tmp_path, yaml.safe_dump(tree))


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.stem)
def test_a_committed_suite_loads_and_expands_under_its_own_name(path: Path) -> None:
    loaded = suite.load(path)
    assert loaded.name == path.stem
    assert loaded.question.endswith("?")
    assert suite.expand(loaded, "cpu").cells


def test_suites_and_metrics_are_listed_with_their_first_sentence(tmp_path: Path) -> None:
    write(tmp_path, VALID)
    (tmp_path / "bad.yaml").write_text("a: 1")
    bad, good = suite.summaries(tmp_path)
    assert bad[0] == str(tmp_path / "bad.yaml")
    assert bad[1].startswith(f"cannot be run: {bad[0]}: a: unknown key")
    assert good == (str(tmp_path / "x.yaml"), "Which is fastest?")
    assert {"latency", "peak_memory", "flops"} <= dict(suite.metric_summaries()).keys()
    assert all(summary for _, summary in suite.metric_summaries())


def test_a_stored_text_parses_to_the_suite_that_was_loaded(tmp_path: Path) -> None:
    overrides = ("fixed.batch=4", "contenders.reformer.options.hashes=8", "axes.seq_len=[2k]")
    loaded = load(tmp_path, VALID, *overrides)
    again = suite.parse(loaded.text, loaded.source, loaded.overrides, metrics=METRICS)
    assert again == loaded
    assert [c.id for c in suite.expand(again, "cpu").cells] == [
        c.id for c in suite.expand(loaded, "cpu").cells
    ]


def test_the_readme_shows_a_suite_that_loads(tmp_path: Path) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    example = readme.partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "enwik8").write_bytes(b"text")
    loaded = load(tmp_path, example, f"data.path={tmp_path / 'enwik8'}")
    assert len(suite.expand(loaded, "cpu").cells) == 2 * 3 * (1 + 1 + 3)


# Whatever the file holds, a suite or a SuiteError comes of it.


def nodes(tree: Any) -> list[tuple[Any, Any]]:
    """Return the place of every value below the top: what holds it and under which key."""
    keys: list[Any] = []
    if isinstance(tree, dict | list):
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    return [(tree, key) for key in keys] + [place for key in keys for place in nodes(tree[key])]


JUNK = [None, True, -1, 0, 3.5, "", "x", "8k", ">8k", [], {}, [[]], {"cpu": 1}, {"pow2": [1, 99]}]
JUNK += [10**40, "1e999", float("nan"), {"reason": "x"}, ["forward"], {"cuda": [1]}, "\u202e", "*"]


def mutate(tree: dict, generator: random.Random) -> None:
    for _ in range(generator.randint(1, 2)):
        parent, key = generator.choice(nodes(tree))
        action = generator.choice(("delete", "replace", "insert", "swap"))
        if action == "delete":
            del parent[key]
        elif action == "replace":
            parent[key] = generator.choice(JUNK)
        elif action == "swap":
            other, place = generator.choice(nodes(tree))
            parent[key] = yaml.safe_load(yaml.safe_dump(other[place]))
        elif isinstance(parent, list):
            parent.insert(key, generator.choice(JUNK))
        else:
            parent[generator.choice(("options.chunk", "device", "extra", "cpu"))] = (
                generator.choice(JUNK)
            )
        if not nodes(tree):
            return


def test_a_mutated_suite_loads_or_is_refused(tmp_path: Path) -> None:
    generator = random.Random(0)
    loaded: list[suite.Suite] = []
    refused: list[suite.SuiteError] = []
    for _ in range(150):
        tree = yaml.safe_load(VALID)
        mutate(tree, generator)
        text = yaml.safe_dump(tree, allow_unicode=True)
        try:
            loaded.append(load(tmp_path, text))
        except suite.SuiteError as error:
            refused.append(error)
    assert len(loaded) > 5
    assert len(refused) > 5
    assert all(problem.isprintable() for error in refused for problem in error.problems)
    assert all(suite.protocol(one, device) for one in loaded for device in ("cpu", "cuda"))


@settings(max_examples=150, deadline=None)
@given(
    start=st.integers(0, len(VALID)),
    length=st.integers(0, 60),
    junk=st.one_of(
        st.text(max_size=20), st.sampled_from(["*a", "&a [*a]", "!!python/x", "? ", "{"])
    ),
)
def test_a_file_with_random_text_loads_or_is_refused(
    start: int, length: int, junk: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = VALID[:start] + junk + VALID[start + length :]
    path = tmp_path_factory.mktemp("fuzz", numbered=True) / "x.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        outcome = suite.load(path, metrics=METRICS).contenders
    except suite.SuiteError as error:
        outcome = error.problems
    assert outcome
