"""A suite with tasks: what a task fills in, what a suite overrides, and what is refused."""

from pathlib import Path

import pytest

from harness import suite
from harness.schema import Evaluation, Training

TEXT = """\
version: 1
name: x
question: What is learnt?
contenders:
  - {id: full, model: transformer}
  - {id: lsh, model: reformer, options: {hashes: 2, conv: 5}}
axes: {task: [copy, mqar]}
metrics: [quality]
"""


def load(tmp_path: Path, more: str = "", text: str = TEXT) -> suite.Suite:
    path = tmp_path / "x.yaml"
    path.write_text(text + more)
    return suite.load(path)


def problems(tmp_path: Path, more: str = "", text: str = TEXT) -> str:
    with pytest.raises(suite.SuiteError) as caught:
        load(tmp_path, more, text)
    return str(caught.value)


def test_a_task_fills_in_what_the_suite_leaves_out(tmp_path: Path) -> None:
    cells = suite.expand(load(tmp_path), "cpu").cells
    by = {(cell.contender, cell.task): cell for cell in cells}
    copy, mqar = by["full", "copy"], by["lsh", "mqar"]
    assert (copy.seq_len, copy.vocab, copy.layers, copy.phase) == (128, 128, 1, "train_step")
    assert copy.options["positions"] == "learned"
    assert "conv" not in copy.options
    assert mqar.options == {"positions": "learned", "init_std": 0.08, "hashes": 2, "conv": 5}
    assert (mqar.heads, mqar.vocab) == (1, 128)
    assert len({cell.id for cell in cells}) == 4


def test_what_a_suite_says_goes_before_what_a_task_says(tmp_path: Path) -> None:
    cells = suite.expand(load(tmp_path, "fixed: {seq_len: 64, batch: 3, vocab: 99}\n"), "cpu").cells
    assert {(cell.seq_len, cell.batch, cell.vocab) for cell in cells} == {(64, 3, 99)}


def test_training_and_evaluation_may_differ_by_device(tmp_path: Path) -> None:
    more = (
        "training: {steps: {cpu: 1k, cuda: 150000}, learning_rates: [1e-3, 3e-3], seeds: 2}\n"
        "eval: {hashes: [dense, 8, 1, plain], seq_len: [256], margin: 0.01}\n"
    )
    loaded = load(tmp_path, more)
    training, evaluation = suite.learning(loaded, "cpu")
    assert training == Training(steps=1024, learning_rates=(1e-3, 3e-3), seeds=2)
    assert evaluation == Evaluation(hashes=("dense", 8, 1, "plain"), seq_len=(256,), margin=0.01)
    on_cuda = suite.learning(loaded, "cuda")[0]
    assert on_cuda is not None
    assert on_cuda.steps == 150_000


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("training: {step: 5}\n", "training.step: unknown key, did you mean 'steps'?"),
        ("training: {learning_rates: [0.1, 0.1]}\n", "appears twice"),
        ("eval: {hashes: [8, denze]}\n", "expected hash rounds or one of dense, plain"),
        ("eval: {margin: 3}\n", "a number from 0 to 1"),
        ("fixed: {phase: forward}\n", "phase: a cell that is trained is a train_step"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path: Path, more: str, message: str) -> None:
    assert message in problems(tmp_path, more)


def test_tasks_and_quality_need_each_other(tmp_path: Path) -> None:
    assert "unknown task 'copi'; did you mean 'copy'" in problems(
        tmp_path, text=TEXT.replace("copy", "copi")
    )
    without = TEXT.replace("axes: {task: [copy, mqar]}", "axes: {seq_len: [64]}")
    sizes = "fixed: {phase: train_step, d_model: 8, heads: 1, layers: 1}\n"
    assert "quality needs a task" in problems(tmp_path, sizes, without)
    other = without.replace("[quality]", "[latency]")
    told = problems(tmp_path, f"{sizes}training: {{seeds: 1}}\n", other)
    assert "training: nothing is trained" in told
    small = sizes.replace("layers: 1", "layers: 1, vocab: 8")
    assert "at least 256" in problems(tmp_path, small, other)


def test_cells_without_a_task_keep_their_ids() -> None:
    """The ids of the committed suites before there were tasks."""
    loaded = suite.load(Path(__file__).parents[3] / "suites" / "smoke.yaml")
    ids = {cell.id for cell in suite.expand(loaded, "cpu").cells}
    assert "transformer-forward-128-float32-cpu-b17207d2" in ids
