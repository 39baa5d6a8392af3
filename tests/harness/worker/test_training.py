"""Laws of training: equal for all, resumed as if it had not stopped, divergence is an outcome."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from harness.schema import Cell, Evaluation, Job, Outcome, Protocol, Training
from harness.worker import assessment, failure, ladder, measure, optimising, shell, task
from harness.worker.blueprint import draw
from harness.worker.checkpoint import Checkpoint
from harness.worker.course import Plan
from harness.worker.draws import seeded
from harness.worker.failure import DivergedError
from harness.worker.fleet import LostError
from harness.worker.fleet import run as run_fleet
from harness.worker.metric import Bench
from harness.worker.metrics import quality
from harness.worker.task import Setting, stream
from harness.worker.training import Trainer
from models.layers.short_convolution import ShortConvolution
from models.variant import VARIANTS, Unsupported

CELL = Cell(
    contender="lsh", model="transformer", attention="lsh", impl="chunked",
    options={"chunk": 4, "hashes": 2, "redraw": True, "positions": "learned"},
    phase="train_step", seq_len=16, batch=4, d_model=16, heads=2, d_ff=16, layers=1, vocab=8,
    causal=True, dtype="float32", device="cpu", threads=1, data="stdlib", seed=0, task="copy",
)  # fmt: skip
FULL = replace(CELL, contender="full", attention="full", impl="sdpa", options={})
PLAN = Plan(batch=4, steps=12, rate=1e-3, seed=0, warmup=4, eval_every=4, examples=8)


def job(cell: Cell = CELL, **changes) -> Job:
    training = Training(steps=12, eval_every=4, examples=8, seeds=2, processes=1)
    base = Job(cell=cell, metrics=("quality",), protocol=Protocol(), training=training)
    return replace(base, **changes)


def network(options: dict | None = None) -> shell.Shell:
    cell = CELL if options is None else replace(CELL, options={**CELL.options, **options})
    return seeded(draw(cell).network, 0)  # pyright: ignore[reportReturnType]


def trainer(plan: Plan = PLAN, checkpoint: Checkpoint | None = None, **options) -> Trainer:
    learnt = task.load("copy")
    source = learnt.make(Setting(seq_len=16, vocab=8))
    torch.manual_seed(plan.seed)
    ticks = iter(range(0, 10**12, 10**9))
    return Trainer(
        network(options), learnt, source, plan, clock=lambda: next(ticks), checkpoint=checkpoint
    )


class Killed(BaseException):
    """Stands in for a kill."""


def test_a_killed_training_goes_on_as_if_it_had_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout, rotations and the optimizer's state are those of the run that nobody killed."""
    monkeypatch.setattr("harness.worker.training.SAVE_EVERY_S", -1.0)
    whole = trainer(dropout=0.2)
    course = whole.run()
    checkpoint = Checkpoint(path=tmp_path / "kept.pt", fingerprint="this")
    first = trainer(checkpoint=checkpoint, dropout=0.2)
    with monkeypatch.context() as patch:
        patch.setattr(first, "_look", _dies_at(first, 12))
        with pytest.raises(Killed):
            first.run()
    second = trainer(checkpoint=checkpoint, dropout=0.2)
    resumed = second.run()
    assert resumed.resumed_at == 8
    assert [(p.step, p.loss, p.score) for p in resumed.points] == [
        (p.step, p.loss, p.score) for p in course.points
    ]
    assert resumed.spent_ns == course.spent_ns
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def _dies_at(one: Trainer, step: int):
    look = one._look

    def dies() -> None:
        if one.course.step == step:
            raise Killed
        look()

    return dies


def test_the_state_of_another_training_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "kept.pt"
    trainer(checkpoint=Checkpoint(path=path, fingerprint="this")).run()
    assert Checkpoint(path=path, fingerprint="this").load() is not None
    assert Checkpoint(path=path, fingerprint="other").load() is None
    path.write_bytes(path.read_bytes()[:100])
    assert Checkpoint(path=path, fingerprint="this").load() is None


def test_contenders_see_the_same_examples_and_begin_with_the_same_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, list[bytes]] = {}
    starts: dict[str, dict[str, torch.Tensor]] = {}
    for cell in (CELL, FULL):
        mine = seen.setdefault(cell.contender, [])

        def loss(logits, batch, mine=mine):
            mine.append(batch.tokens.numpy().tobytes())
            return nn.functional.cross_entropy(
                logits.flatten(0, -2), batch.targets.flatten(), ignore_index=-100
            )

        def init(self, net, *args, cell=cell, original=Trainer.__init__, **kwargs):
            starts[cell.contender] = {k: v.clone() for k, v in net.state_dict().items()}
            original(self, net, *args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr("harness.worker.training.shell.loss", loss)
            patch.setattr(Trainer, "__init__", init)
            assessment.train(job(cell), PLAN, clock=lambda: 0)
    assert len(seen["lsh"]) == 12
    assert seen["lsh"] == seen["full"]
    shared = starts["lsh"].keys() & starts["full"].keys()
    assert len(shared) > 5
    assert all(torch.equal(starts["lsh"][name], starts["full"][name]) for name in shared)


def test_the_learning_rate_rises_in_a_line_and_falls_in_a_cosine() -> None:
    rates = [optimising.factor(step, 110, 10) for step in range(111)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == pytest.approx(1)
    assert rates[60] == pytest.approx((1 + optimising.LAST) / 2)
    assert rates[110] == pytest.approx(optimising.LAST)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_training_ends_early_only_after_two_good_looks() -> None:
    one = trainer(replace(PLAN, stop_at=0.0))  # whatever the score is, it is good
    course = one.run()
    assert (course.stop, course.step) == ("score", 8)


def test_training_ends_when_its_seconds_are_spent() -> None:
    course = trainer(replace(PLAN, seconds=3.5)).run()  # each step takes a second by that clock
    assert (course.stop, course.step) == ("seconds", 4)


def test_a_loss_that_is_no_number_ends_the_training_with_its_place() -> None:
    one = trainer()
    with torch.no_grad():
        next(one.network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match=r"step 4 of 12, learning rate 0.001, seed 0"):
        one.run()
    found = failure.of_exception(DivergedError("the loss is not finite at step 4"))
    assert found.outcome is Outcome.DIVERGED


def test_dense_warm_up_ends_at_the_score_and_not_at_a_step() -> None:
    """Before the switch all pairs meet, after it the mechanism's own; the score decides."""
    never = trainer(replace(PLAN, dense_until=2.0)).run()
    at_once = trainer(replace(PLAN, dense_until=0.0)).run()
    without = trainer().run()
    assert (never.dense_steps, at_once.dense_steps, without.dense_steps) == (12, 4, 0)
    assert never.points[0].loss == at_once.points[0].loss != without.points[0].loss


def record(rate: float, seed: int, score: float, diverged: str | None = None) -> dict:
    return {"rate": rate, "seed": seed, "validation": score, "diverged": diverged}


def test_the_rate_that_is_best_by_validation_counts() -> None:
    records = [
        record(1e-3, 0, 0.5),
        record(1e-3, 1, 0.6),
        record(3e-3, 0, 0.9),
        record(3e-3, 1, 0.1),
    ]
    copy, text = task.load("copy"), task.load("byte_lm")
    assert quality.best(records, copy)[0] == 1e-3
    assert quality.best(records, text)[0] == 3e-3  # fewer bits are better
    worse = [*records, record(1e-2, 0, 1.0), record(1e-2, 1, 0.0, "the loss is not finite")]
    assert quality.best(worse, copy)[0] == 1e-3  # a rate at which a seed diverged comes last
    lost = [record(1e-2, 0, 0.0, "the loss is not finite")]
    with pytest.raises(DivergedError, match="the loss is not finite"):
        quality.best(lost, copy)


def test_a_record_has_scores_of_every_seed_ladder_curves_and_costs() -> None:
    evaluation = Evaluation(hashes=("dense", 4, 1, "plain"), seq_len=(8, 24))
    found = quality.collect(Bench(job=job(evaluation=evaluation)))
    measured = {m.metric: m for m in found.measurements}
    assert len(measured["quality"].samples) == 2
    ladder_names = {"quality_dense", "quality_hashes_4", "quality_hashes_1", "quality_plain"}
    assert ladder_names | {"quality_length_8", "quality_length_24"} <= measured.keys()
    assert measured["train_steps"].samples == (12, 12)
    assert min(measured["train_time"].samples) > 0
    assert 0 < measured["coverage"].samples[0] <= 1
    assert [len(curve) for curve in found.facts["curves"]] == [3, 3]
    assert found.facts["above_floor"] == [False, False]
    assert found.facts["score_baselines"] == {"chance": 1 / 7}
    assert "time_to_score" not in measured  # nobody reached it


def test_full_attention_has_no_ladder_and_sees_everything() -> None:
    evaluation = Evaluation(hashes=("dense", 1))
    found = quality.collect(Bench(job=job(FULL, evaluation=evaluation)))
    measured = {m.metric: m.samples for m in found.measurements}
    assert not {"quality_dense", "quality_hashes_1"} & measured.keys()
    assert measured["coverage"] == pytest.approx((1.0, 1.0))
    assert max(measured["error_trained"]) < 1e-5


def test_a_cell_without_a_task_has_no_quality() -> None:
    with pytest.raises(Unsupported, match="no task"):
        quality.collect(Bench(job=job(replace(CELL, task=None))))


def test_trainings_side_by_side_give_what_they_give_one_by_one() -> None:
    training = Training(steps=8, eval_every=4, examples=8, seeds=2, processes=2)
    apart, together = (
        quality.collect(Bench(job=job(training=replace(training, processes=n)))) for n in (1, 2)
    )
    assert apart.measurements[0].samples == together.measurements[0].samples
    scores = [
        [point[2:] for curve in f.facts["curves"] for point in curve] for f in (apart, together)
    ]
    assert scores[0] == scores[1]


def test_a_training_process_that_dies_is_told_and_the_others_end() -> None:
    def dies() -> None:
        os._exit(7)

    with pytest.raises(LostError, match="exit code 7"):
        run_fleet([dies, lambda: 1], 2)
    with pytest.raises(LostError, match="ValueError: told"):
        run_fleet([lambda: 1, _fails], 2)
    assert run_fleet([lambda: 1, lambda: [2], lambda: {"a": 3}], 2) == [1, [2], {"a": 3}]


def _fails() -> None:
    raise ValueError("told")


def test_a_cell_of_the_laboratory_tells_its_score_beside_its_time() -> None:
    events: list[dict] = []
    small = replace(FULL, options={"positions": "learned"})
    measure.measure(
        job(
            small,
            metrics=("quality", "latency"),
            protocol=Protocol(min_samples=1, max_samples=2, min_time_s=0.0, max_time_s=0.1),
        ),
        events.append,
    )
    assert events[-1]["outcome"] == "ok"
    assert {"quality", "latency"} <= {
        e["measurement"]["metric"] for e in events if "measurement" in e
    }
    stages = [event["stage"] for event in events if "stage" in event]
    assert any("seed 0" in stage and "left" in stage for stage in stages)


def test_dense_rung_is_hashing_with_a_single_chunk() -> None:
    net = network()
    tokens = (
        task.load("copy").make(Setting(seq_len=16, vocab=8)).draw("train", 3, stream("train", 0))
    )
    net.eval()
    with torch.no_grad():
        own = net(tokens.tokens)
        with ladder.climbed(net, ladder.DENSE):
            dense = net(tokens.tokens)
        wide = network({"chunk": 16}).eval()(tokens.tokens)
        with ladder.climbed(net, 2):
            same = net(tokens.tokens)
        after = net(tokens.tokens)
    torch.testing.assert_close(dense, wide)
    assert not torch.allclose(dense, own)
    assert torch.equal(same, own)  # as many rounds as it was built with
    assert torch.equal(after, own)  # and it has its own mechanism again


def test_plain_rung_is_softmax_of_the_shared_vectors_with_themselves() -> None:
    torch.manual_seed(0)
    q, v = torch.randn(2, 1, 2, 10, 8).unbind(0)
    found = ladder.PlainSharedQK(causal=True, head_dim=8)(q, q, v)
    scores = (q @ q.mT / 8**0.5).masked_fill(torch.ones(10, 10).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(found, scores.softmax(-1) @ v)


def test_a_control_stays_a_control_on_every_rung() -> None:
    options = VARIANTS.load("random_buckets").options(hashes=2, chunk=4)
    layer = network()
    (site,) = ladder.sites(layer)
    control = VARIANTS.load("random_buckets").module(
        options, causal=True, impl="chunked", head_dim=8
    )
    setattr(site.parent, site.name, control)
    with ladder.climbed(layer, 4):
        (inside,) = ladder.sites(layer)
        assert type(inside.attention) is type(control)
        assert getattr(inside.attention, "options").hashes == 4  # noqa: B009 - a control has them


def test_short_convolutions_hear_of_earlier_tokens_only() -> None:
    torch.manual_seed(0)
    conv = ShortConvolution(d_model=4, width=3, causal=True)
    x = torch.randn(1, 9, 4)
    later = x.clone()
    later[:, 5:] = 0
    torch.testing.assert_close(conv(x)[:, :5], conv(later)[:, :5])
    assert not torch.allclose(conv(x)[:, 5:], conv(later)[:, 5:])
    pulse = torch.zeros(1, 9, 4)
    pulse[:, 3] = 1
    heard = (conv(pulse) - pulse)[0]
    assert heard.abs().sum(dim=1).nonzero().flatten().tolist() == [3, 4, 5]
    both = ShortConvolution(d_model=4, width=3, causal=False)
    heard = (both(pulse) - pulse)[0]
    assert heard.abs().sum(dim=1).nonzero().flatten().tolist() == [2, 3, 4]
