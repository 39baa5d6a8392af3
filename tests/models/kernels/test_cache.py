"""A growing tensor is a value: whoever keeps an older one still has it."""

import torch

from models.kernels.cache import SMALLEST, Growing


def token(value: float) -> torch.Tensor:
    return torch.full((2, 3, 1, 4), float(value))


def test_appended_tokens_follow_in_order() -> None:
    first = torch.randn(2, 3, 5, 4)
    growing = Growing.of(first)
    for n in range(100):
        growing = growing.append(token(n))
    assert growing.length == 105
    torch.testing.assert_close(growing.tensor[:, :, :5], first)
    assert growing.tensor[1, 2, 5:, 3].tolist() == list(range(100))


def test_two_continuations_of_one_state_do_not_disturb_each_other_or_it() -> None:
    start = Growing.of(token(0)).append(token(1))
    one, two = start.append(token(2)), start.append(token(3))
    longer = one.append(token(4))
    assert start.tensor[0, 0, :, 0].tolist() == [0, 1]
    assert one.tensor[0, 0, :, 0].tolist() == [0, 1, 2]
    assert two.tensor[0, 0, :, 0].tolist() == [0, 1, 3]
    assert longer.tensor[0, 0, :, 0].tolist() == [0, 1, 2, 4]


def test_memory_is_taken_anew_only_when_it_is_full() -> None:
    growing = Growing.of(token(0))
    rooms: list[int] = []
    for n in range(8 * SMALLEST):
        growing = growing.append(token(n))
        rooms.append(growing.room.tensor.data_ptr())
    assert len(set(rooms)) <= 5


def test_the_tensor_that_it_began_with_is_never_written_to() -> None:
    first = torch.randn(2, 3, 5, 4)
    copy = first.clone()
    Growing.of(first).append(token(1)).append(token(2))
    assert torch.equal(first, copy)


def test_rows_are_chosen_with_repetition_and_live_apart() -> None:
    growing = Growing.of(torch.arange(2.0).view(2, 1, 1, 1))
    chosen = growing.select(torch.tensor([1, 1, 0]))
    assert chosen.tensor.flatten().tolist() == [1, 1, 0]
    chosen.append(torch.ones(3, 1, 1, 1))
    assert growing.tensor.flatten().tolist() == [0, 1]
