import torch
from torch import nn

from harness.worker.draws import seeded


class Net(nn.Module):
    """A network that may lack a projection, draw more, or not be buildable without numbers."""

    def __init__(self, *, key: bool = True, extra: int = 0, needs_numbers: bool = False) -> None:
        super().__init__()
        for _ in range(extra):
            torch.randn(4, 4)
        if needs_numbers:
            assert torch.ones(1).item() == 1
        self.query = nn.Linear(4, 4)
        self.key = nn.Linear(4, 4) if key else None
        self.value = nn.Linear(4, 4)
        self.row = nn.Parameter(torch.randn(3, 4) * 0.02)
        self.column = nn.Parameter(torch.randn(3, 4) * 0.02)
        nn.init.trunc_normal_(self.value.weight, std=0.02)


def weights(seed: int = 0, **changes) -> dict[str, torch.Tensor]:
    return seeded(lambda: Net(**changes), seed).state_dict()


def test_weights_repeat_whatever_was_drawn_before() -> None:
    torch.manual_seed(1)
    one = weights()
    torch.rand(10)
    torch.testing.assert_close(weights(), one, rtol=0, atol=0)


def test_a_network_with_fewer_parameters_shares_the_rest() -> None:
    full, fewer = weights(), weights(key=False)
    assert set(full) - set(fewer) == {"key.weight", "key.bias"}
    for name, weight in fewer.items():
        assert torch.equal(weight, full[name]), name


def test_a_network_that_draws_more_has_the_same_parameters() -> None:
    torch.testing.assert_close(weights(extra=3), weights(), rtol=0, atol=0)


def test_parameters_of_one_shape_differ_and_so_do_seeds() -> None:
    found = weights()
    assert not torch.equal(found["query.weight"], found["key.weight"])
    assert not torch.equal(found["row"], found["column"])
    assert not torch.equal(found["query.weight"], weights(seed=1)["query.weight"])


def test_a_network_that_needs_numbers_to_be_built_is_seeded_too() -> None:
    one = weights(needs_numbers=True)
    torch.rand(10)
    torch.testing.assert_close(weights(needs_numbers=True), one, rtol=0, atol=0)


def test_weights_keep_the_distribution_that_the_network_asked_for() -> None:
    torch.manual_seed(0)
    network = seeded(lambda: nn.Linear(400, 400), 0)
    bound = 400**-0.5
    assert network.get_parameter("weight").abs().max() <= bound
    assert abs(network.get_parameter("weight").std().item() - bound / 3**0.5) < 1e-3
