import pytest
import torch

from harness.worker import corpus
from harness.worker.workload import build, describe
from models.variant import Unsupported


def test_the_same_job_gives_the_same_weights_and_text(job) -> None:
    one, two = build(job()), build(job())
    assert torch.equal(one.tokens, two.tokens)
    torch.testing.assert_close(one.model.state_dict(), two.model.state_dict(), rtol=0, atol=0)


def test_another_seed_gives_other_weights_and_other_text(job) -> None:
    one, two = build(job(seed=1)), build(job(seed=2))
    assert not torch.equal(one.tokens, two.tokens)
    assert not torch.equal(
        one.model.get_parameter("head.weight"), two.model.get_parameter("head.weight")
    )


def test_weights_agree_between_contenders_where_their_shapes_agree(job) -> None:
    plain, greedy = build(job()), build(job(options={"extra_draws": 5}, impl="eager"))
    torch.testing.assert_close(plain.model.state_dict(), greedy.model.state_dict(), rtol=0, atol=0)


def test_weights_do_not_depend_on_what_was_drawn_before(job) -> None:
    torch.manual_seed(123)
    one = build(job())
    torch.rand(1000)
    torch.testing.assert_close(one.model.state_dict(), build(job()).model.state_dict())


def test_weights_of_another_dtype_are_the_same_numbers_rounded(job) -> None:
    full, half = build(job()), build(job(dtype="bfloat16"))
    assert half.model.get_parameter("head.weight").dtype == torch.bfloat16
    assert torch.equal(
        full.model.get_parameter("head.weight").bfloat16(), half.model.get_parameter("head.weight")
    )


def test_input_is_the_corpus_and_targets_are_the_next_bytes(job) -> None:
    work = build(job())
    text = corpus.batch(corpus.load(), 2, 64, seed=7)
    assert torch.equal(work.tokens, text[:, :-1])
    assert torch.equal(work.targets, text[:, 1:])


def test_a_forward_step_returns_logits_of_the_whole_sequence_and_no_graph(job) -> None:
    work = build(job())
    logits = work.step()
    assert logits.shape == (2, 64, 256)
    assert not logits.requires_grad
    assert not work.model.training


def test_a_training_step_learns(job) -> None:
    work = build(job(phase="train_step"))
    losses = [work.step().item() for _ in range(60)]
    assert losses[-1] < losses[0]
    assert work.model.training


def test_no_gradient_survives_a_training_step(job) -> None:
    work = build(job(phase="train_step"))
    seen = []
    work.model.register_forward_pre_hook(
        lambda *_: seen.append([p.grad is None for p in work.model.parameters()])
    )
    work.step()
    work.step()
    assert all(p.grad is None for p in work.model.parameters())
    assert all(map(all, seen))


def test_training_in_float16_stays_finite_where_a_token_is_never_seen(job) -> None:
    work = build(job(phase="train_step", dtype="float16"))
    for _ in range(3):
        work.step()
    assert all(p.isfinite().all() for p in work.model.parameters())


def test_what_a_step_draws_is_decided_by_the_seed_alone(job) -> None:
    drawn = []
    for before in (1, 2):
        torch.manual_seed(before)
        build(job(seed=5))
        assert torch.initial_seed() == 5
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)


def test_parameters_are_counted(job) -> None:
    assert build(job()).parameters == 256 * 32 + (32 * 32 + 32) + (32 * 256 + 256)


def test_threads_are_the_cells(job) -> None:
    before = torch.get_num_threads()
    try:
        build(job(threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_what_auto_became_is_told(job) -> None:
    subject = describe(job(attention="auto"))
    told = {"attention": "averaging", "impl": "reference", "exact": False}
    assert {key: subject.facts[key] for key in told} == told
    assert subject.impl == "reference"
    assert subject.environment.fields["data_digest"] == corpus.load().digest
    assert build(job()).facts == subject.facts


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("make", [build, describe])
def test_a_missing_device_is_unsupported(job, make) -> None:
    with pytest.raises(Unsupported, match="cuda: no CUDA device here"):
        make(job(device="cuda"))


def test_an_impl_that_cannot_run_is_unsupported(job) -> None:
    with pytest.raises(Unsupported, match="flash needs a device"):
        build(job(impl="flash"))
