from pathlib import Path

import pytest

from harness.worker import blueprint, corpus
from models.variant import Unsupported


def draw(job):
    return blueprint.draw(job.cell, job.plugins)


def test_auto_takes_the_models_attention_and_the_variants_first_impl(job) -> None:
    plan = draw(job(attention="auto", impl="auto"))
    assert (plan.attention, plan.impl) == ("averaging", "reference")


def test_the_asked_impl_is_kept(job) -> None:
    assert draw(job(impl="eager")).impl == "eager"


def test_a_network_must_take_the_cells_length(job) -> None:
    assert draw(job(seq_len=4096)).size.max_len == 4096


def test_the_cost_is_that_of_the_cells_shape_and_dtype(job) -> None:
    cost = draw(job(batch=3, seq_len=16, dtype="bfloat16")).cost()
    assert (cost.model_flops, cost.state_bytes) == (3 * 16 * 32 * 32, 2 * 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "transfomer"}, r"unknown model 'transfomer'; did you mean 'transformer'"),
        ({"attention": "averagin"}, r"unknown variant 'averagin'; did you mean 'averaging'"),
        ({"impl": "flahs"}, r"unknown impl of averaging 'flahs'; did you mean 'flash'"),
        ({"options": {"windo": 8}}, r"unknown option 'windo'; did you mean 'window'"),
        ({"options": {"window": "8"}}, r"option 'window': '8' is not int"),
        ({"options": {"window": 6}}, r"window 6 is not a multiple of 4"),
        ({"d_model": 30}, r"d_model 30 is not a multiple of heads 4"),
        ({"layers": 0}, r"layers is 0; it must be at least 1"),
        ({"seq_len": -8}, r"seq_len is -8"),
        ({"vocab": 100}, r"vocab 100 is too small: bytes need 256"),
        ({"seq_len": 63}, r"length 63 is not a multiple of 8"),
    ],
)
def test_bad_input_is_found_before_anything_is_built(job, changes, message) -> None:
    problem = blueprint.check(job(**changes))
    assert problem is not None
    with pytest.raises(ValueError, match=message):
        raise ValueError(problem)


def test_a_corpus_that_is_too_short_is_bad_input(job, tmp_path: Path) -> None:
    file = tmp_path / "short.txt"
    file.write_text("too short")
    problem = blueprint.check(job(data_path=str(file)))
    assert problem is not None
    assert "has 9 bytes" in problem


@pytest.mark.parametrize("changes", [{}, {"phase": "train_step"}, {"device": "cuda"}])
def test_a_cell_that_can_be_built_is_no_bad_input(job, changes) -> None:
    assert blueprint.check(job(**changes)) is None


@pytest.mark.parametrize("changes", [{"impl": "flash"}, {"causal": False}])
def test_what_is_unsupported_is_no_bad_input(job, changes) -> None:
    assert blueprint.check(job(**changes)) is None


def test_a_missing_direction_is_unsupported(job) -> None:
    with pytest.raises(Unsupported, match="averaging: has no bidirectional form"):
        draw(job(causal=False))


def test_a_check_allocates_no_weights(job, monkeypatch) -> None:
    monkeypatch.setattr(corpus, "require", lambda *_: None)
    assert blueprint.check(job(d_model=1 << 20, seq_len=1 << 30)) is None  # weights of 4 TiB
