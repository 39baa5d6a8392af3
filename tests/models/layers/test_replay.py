"""A second run draws and decides as the first, and leaves no trace."""

import pytest
import torch

from models.layers.replay import Replay, decide

CPU = torch.device("cpu")


def test_a_repeated_run_draws_the_same_and_restores_the_random_state() -> None:
    replay = Replay(CPU)
    with replay.recording():
        first = torch.rand(3)
    torch.rand(5)
    state = torch.get_rng_state()
    with replay.repeating():
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_repeated_run_gets_its_decisions_back_in_order() -> None:
    count = iter(range(100))
    replay = Replay(CPU)
    with replay.recording():
        first = [decide(lambda: next(count)) for _ in range(3)]
    for _ in range(2):
        with replay.repeating():
            assert [decide(lambda: next(count)) for _ in range(3)] == first
    assert decide(lambda: next(count)) == 3  # outside, each call decides anew


def test_a_fault_inside_ends_the_recording() -> None:
    def fails() -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError), Replay(CPU).recording():
        fails()
    count = iter(range(2))
    assert [decide(lambda: next(count)) for _ in range(2)] == [0, 1]


def test_a_repeated_run_has_the_precision_of_the_first() -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        replay = Replay(CPU)
    with replay.repeating():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")
