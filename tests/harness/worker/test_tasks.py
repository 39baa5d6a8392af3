"""Laws of every task on the shelf: a new file is tested on arrival."""

import numpy as np
import pytest
import torch

from harness.grammar.tasks import declared
from harness.worker import task as kind
from harness.worker.task import IGNORED, SPLITS, TASKS, Batch, Setting, Source, stream

OFFLINE = [name for name in TASKS.names() if TASKS.load(name).offline]
every_task = pytest.mark.parametrize("name", OFFLINE)


def setting(name: str) -> Setting:
    defaults = TASKS.load(name).defaults
    return Setting(seq_len=defaults["seq_len"], vocab=defaults["vocab"])


@pytest.fixture(scope="module")
def sources() -> dict[str, Source]:
    return {name: TASKS.load(name).make(setting(name)) for name in OFFLINE}


def certain(batch: Batch, vocab: int) -> torch.Tensor:
    """Logits of somebody who knows every answer."""
    known = batch.targets.clamp(min=0)
    return 50.0 * torch.nn.functional.one_hot(known, vocab).float()


@every_task
def test_equal_generators_give_equal_examples_and_others_do_not(
    name: str, sources: dict[str, Source]
) -> None:
    first, same, later = (sources[name].draw("train", 4, stream("train", 0, n)) for n in (3, 3, 4))
    assert torch.equal(first.tokens, same.tokens)
    assert torch.equal(first.targets, same.targets)
    assert not torch.equal(first.tokens, later.tokens)


@every_task
def test_tokens_and_answers_are_of_the_vocabulary(name: str, sources: dict[str, Source]) -> None:
    where, task = setting(name), TASKS.load(name)
    for split in SPLITS:
        batch = sources[name].draw(split, 5, stream(split, 1))
        assert batch.tokens.dtype == batch.targets.dtype == torch.int64
        assert batch.tokens.min() >= 0
        assert batch.tokens.max() < where.vocab
        asked = batch.targets[batch.targets != IGNORED]
        assert asked.min() >= 0
        assert asked.max() < (2 if task.kind == "pair" else where.vocab)
        shape = {"tokens": (5, where.seq_len), "sequence": (5,), "pair": (5,)}[task.kind]
        assert batch.targets.shape == shape
        assert batch.tokens.shape[-1] == where.seq_len


@every_task
def test_no_example_stands_in_two_splits(name: str, sources: dict[str, Source]) -> None:
    seen: list[set[bytes]] = []
    for split in SPLITS:
        batch = sources[name].draw(split, 60, stream(split, 0))
        seen.append({row.numpy().tobytes() for row in batch.tokens})
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


@every_task
def test_who_knows_every_answer_has_the_best_score(name: str, sources: dict[str, Source]) -> None:
    task, where = TASKS.load(name), setting(name)
    batches = kind.examples(sources[name], "test", 0, 40, 20)
    sums: dict[str, float] = {}
    for batch in batches:
        vocab = 2 if task.kind == "pair" else where.vocab
        for key, value in task.tally(certain(batch, vocab), batch).items():
            sums[key] = sums.get(key, 0.0) + value
    figures = task.figures(sums)
    assert figures["score"] == pytest.approx(1.0 if task.better == "higher" else 0.0, abs=1e-6)
    assert task.reached(figures["score"], task.floor)


@every_task
def test_who_knows_nothing_is_at_chance_and_below_the_floor(
    name: str, sources: dict[str, Source]
) -> None:
    task, where = TASKS.load(name), setting(name)
    generator = torch.Generator().manual_seed(0)
    sums: dict[str, float] = {}
    for batch in kind.examples(sources[name], "test", 0, 64, 32):
        vocab = 2 if task.kind == "pair" else where.vocab
        logits = 1e-3 * torch.randn((*batch.targets.shape, vocab), generator=generator)
        for key, value in task.tally(logits, batch).items():
            sums[key] = sums.get(key, 0.0) + value
    score, rules = task.figures(sums)["score"], task.baselines(where)
    assert not task.reached(score, task.floor)
    assert all(
        not task.reached(value, task.floor) for key, value in rules.items() if key == "chance"
    )
    if task.kind == "tokens" and task.score != "span F1":
        assert score == pytest.approx(rules["chance"], abs=0.08)


@every_task
def test_a_setting_that_cannot_be_is_refused_with_its_value(name: str) -> None:
    for bad in (Setting(seq_len=7, vocab=10**6), Setting(seq_len=setting(name).seq_len, vocab=1)):
        with pytest.raises(ValueError, match=f"{name}: (seq_len 7|vocab 1)"):
            TASKS.load(name).make(bad)


@pytest.mark.parametrize("name", TASKS.names())
def test_the_office_reads_of_a_task_what_importing_it_gives(name: str) -> None:
    task, told = TASKS.load(name), declared(name, "transformer")
    assert dict(told.fields) == {"phase": "train_step", **task.defaults}
    assert dict(told.options) == dict(task.options)


@pytest.mark.parametrize("name", TASKS.names())
def test_a_task_says_what_it_is(name: str) -> None:
    text = TASKS.file(name).read_text(encoding="utf-8")
    assert TASKS.summary(name).endswith((".", "?"))
    assert all(word in text for word in ("Definition", "Chance", "Score"))


@pytest.mark.parametrize("name", [name for name in TASKS.names() if name not in OFFLINE])
def test_a_task_on_the_users_data_asks_for_it(name: str) -> None:
    defaults = TASKS.load(name).defaults
    with pytest.raises(ValueError, match=r"data\.path"):
        TASKS.load(name).make(Setting(seq_len=defaults["seq_len"], vocab=defaults["vocab"]))


def test_streams_of_splits_and_numbers_share_nothing() -> None:
    draws = {
        stream(split, seed, number).integers(0, 2**63)
        for split in SPLITS
        for seed in range(5)
        for number in range(5)
    }
    assert len(draws) == 75
    assert np.random.default_rng([0, 0, 0]).integers(0, 2**63) in draws
