"""Laws of the records: what goes through JSON comes back, and identity is content."""

import json
from dataclasses import fields, replace

import pytest

from harness.codec import canonical, decode, encode
from harness.schema import Cell, Environment, Job, Measurement, Outcome, Protocol, Result

CELL = Cell(
    contender="reformer", model="reformer", attention="lsh", impl="chunked",
    options={"hashes": 4, "layer_kinds": ["local", "attention"]}, phase="train_step", seq_len=4096,
    batch=2, d_model=256, heads=4, d_ff=1024, layers=2, vocab=256, causal=True, dtype="float32",
    device="cpu", threads=1, data="stdlib", seed=0,
)  # fmt: skip
RESULT = Result(
    cell=CELL,
    outcome=Outcome.OUT_OF_MEMORY,
    reason="tried to allocate",
    measurements=(
        Measurement(metric="latency", unit="ns", better="lower", samples=(3, 1, 2), warmups=(9,)),
    ),
    facts={"proof": {"worst": 1e-7}},
    requested_bytes=1 << 40,
)


@pytest.mark.parametrize(
    "record",
    [
        CELL,
        RESULT,
        Environment(fields={"torch": "2.13.0", "cpu_quota": None}),
        Job(cell=CELL, metrics=("latency",), protocol=Protocol(memory_limit_bytes=5)),
    ],
    ids=lambda record: type(record).__name__,
)
def test_a_record_comes_back_from_json_as_it_was(record: object) -> None:
    text = json.dumps(encode(record), allow_nan=False)
    assert decode(type(record), json.loads(text)) == record


def test_the_outcome_comes_back_as_an_outcome() -> None:
    assert decode(Result, encode(RESULT)).outcome is Outcome.OUT_OF_MEMORY


def test_keys_of_a_newer_version_are_ignored() -> None:
    assert decode(Cell, {**encode(CELL), "flavour": "new"}) == CELL


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"Measurement.*samples"):
        decode(Measurement, {"metric": "latency", "unit": "ns", "better": "lower"})


def test_equal_cells_have_one_id_whatever_the_order_of_their_options() -> None:
    turned = replace(CELL, options=dict(reversed(list(CELL.options.items()))))
    assert turned.id == CELL.id


OTHER = {str: "other", int: 3, bool: False}


@pytest.mark.parametrize("name", [f.name for f in fields(Cell)])
def test_every_field_of_a_cell_is_part_of_its_id(name: str) -> None:
    value = getattr(CELL, name)
    changed = {"hashes": 8} if name == "options" else OTHER.get(type(value), 7)
    assert replace(CELL, **{name: changed}).id != CELL.id


def test_an_id_is_fit_for_a_file_name() -> None:
    assert set(CELL.id) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")


def test_canonical_json_refuses_what_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON"):
        canonical({"latency": float("nan")})
