from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pytest

from harness.worker import options


@dataclass(frozen=True, kw_only=True)
class OfModel:
    depth: int = 1
    dropout: float = 0.0
    axes: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class OfVariant:
    hashes: int = 4
    dropout: float = 0.0
    kernel: Literal["elu", "relu"] = "elu"
    sizes: tuple[int, ...] = ()
    shared: bool = True
    kinds: Sequence[str] = ()

    def __post_init__(self):
        if self.hashes < 1:
            raise ValueError(f"hashes is {self.hashes}; it must be at least 1")


@dataclass(frozen=True)
class Nothing:
    pass


def split(**given):
    return options.split(given, OfModel, OfVariant)


def test_each_option_goes_where_its_field_is() -> None:
    assert split(depth=3, hashes=2) == (OfModel(depth=3), OfVariant(hashes=2))


def test_an_option_that_both_take_goes_to_both() -> None:
    model, variant = split(dropout=0.5)
    assert model.dropout == variant.dropout == 0.5


def test_yaml_lists_and_integers_become_what_the_field_is() -> None:
    model, variant = split(axes=[8, 16], dropout=0, sizes=[1, 2, 3], kinds=["a"])
    assert model.axes == (8, 16)
    assert isinstance(model.dropout, float)
    assert variant.sizes == (1, 2, 3)
    assert variant.kinds == ("a",)


def test_null_is_taken_where_the_field_allows_it() -> None:
    assert split(axes=None)[0].axes is None


def test_an_unknown_option_names_the_nearest_and_all() -> None:
    with pytest.raises(ValueError, match=r"'hashs'; did you mean 'hashes'\? known: axes, .*sizes"):
        split(hashs=2)


def test_an_option_for_nobody_says_that_there_are_none() -> None:
    with pytest.raises(ValueError, match=r"'x'.*take none"):
        options.split({"x": 1}, Nothing, Nothing)


@pytest.mark.parametrize(
    "given",
    [
        {"hashes": "four"},
        {"hashes": 2.5},
        {"hashes": True},
        {"hashes": None},
        {"shared": 1},
        {"kernel": "tanh"},
        {"axes": [8]},
        {"axes": 8},
        {"axes": ["a", "b"]},
        {"dropout": "0.1"},
        {"dropout": True},
        {"kinds": "a"},
    ],
)
def test_a_value_of_the_wrong_type_names_option_value_and_type(given) -> None:
    ((name, value),) = given.items()
    with pytest.raises(ValueError, match=f"option '{name}': ") as caught:
        split(**given)
    assert repr(value) in str(caught.value)


def test_what_the_options_themselves_refuse_is_passed_on() -> None:
    with pytest.raises(ValueError, match="hashes is 0; it must be at least 1"):
        split(hashes=0)
