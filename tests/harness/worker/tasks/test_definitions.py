"""Each task is what its docstring defines, checked by reading its examples anew."""

import hashlib
import io
import itertools
import pickle
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.worker import scoring, userfile
from harness.worker.task import IGNORED, TASKS, Batch, Setting, stream
from harness.worker.tasks import (
    byte_lm,
    cifar10,
    conll03,
    imdb,
    listops,
    needle,
    ner_synth,
    num2words,
)


def drawn(name: str, count: int = 8, **changes):
    task = TASKS.load(name)
    fields = {"seq_len": task.defaults["seq_len"], "vocab": task.defaults["vocab"]} | changes
    return task.make(Setting(**fields)).draw("train", count, stream("train", 0))


def test_copy_asks_for_the_second_word_and_only_for_it() -> None:
    batch = drawn("copy")
    first, second = batch.tokens[:, :64], batch.tokens[:, 64:]
    assert torch.equal(first, second)
    assert (batch.tokens[:, [0, 64]] == 0).all()
    assert (batch.tokens[:, 1:64] > 0).all()
    assert (batch.targets[:, :64] == IGNORED).all()
    assert torch.equal(batch.targets[:, 64:-1], second[:, 1:])
    assert (batch.targets[:, -1] == IGNORED).all()


def test_mqar_asks_for_the_value_that_followed_the_key() -> None:
    batch = drawn("mqar", 20)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        told = dict(zip(tokens[0:16:2], tokens[1:16:2], strict=True))
        assert len(told) == len(set(told.values())) == 8
        asked = {tokens[i]: value for i, value in enumerate(targets) if value != IGNORED}
        assert asked == told
        assert all(key < 64 <= value for key, value in told.items())


def test_mqar_asks_after_short_gaps_more_often_than_after_long_ones() -> None:
    batch = drawn("mqar", 200)
    first, last = (batch.targets[:, part] != IGNORED for part in (slice(16, 28), slice(52, 64)))
    assert first.sum() > 1.5 * last.sum()


def test_entities_have_the_type_that_their_definition_gave() -> None:
    batch = drawn("ner_synth", 20)
    for tokens, targets in zip(batch.tokens.tolist(), batch.targets.tolist(), strict=True):
        at = [i for i, token in enumerate(tokens) if token == ner_synth.DEF]
        told = {tokens[i + 1]: tokens[i + 2] - ner_synth.TYPE for i in at}
        assert len(told) == 8
        assert all(targets[i + n] == IGNORED for i in at for n in range(3))
        for kind, begin, end in scoring.spans([max(0, t) for t in targets], ner_synth.KINDS):
            assert told[tokens[begin]] == kind
            assert all(token >= ner_synth.SUFFIX for token in tokens[begin + 1 : end])
        mentioned = {t for i, t in enumerate(tokens) if targets[i] == 0 and t in told}
        assert not mentioned  # a defined name is never O


def test_spans_are_found_as_the_scorer_of_conll_finds_them() -> None:
    assert scoring.spans([0, 1, 2, 2, 1, 0, 4, 4, 3], 2) == {
        (0, 1, 4), (0, 4, 5), (1, 6, 8), (1, 8, 9),
    }  # fmt: skip
    assert scoring.spans([2, 4, 2], 2) == {(0, 0, 1), (1, 1, 2), (0, 2, 3)}


def test_a_span_with_a_wrong_end_or_type_counts_for_nothing() -> None:
    targets = torch.tensor([[0, 1, 2, 0, 3, 4, 0]])
    right = scoring.count_spans(one_hot(targets), batch_of(targets), 2)
    assert scoring.span_f1(right) == {"score": 1.0, "mentions": 1.0}
    for wrong in ([0, 1, 0, 0, 3, 4, 0], [0, 3, 4, 0, 3, 4, 0]):
        sums = scoring.count_spans(one_hot(torch.tensor([wrong])), batch_of(targets), 2)
        assert scoring.span_f1(sums)["score"] == 0.5
    nothing = scoring.count_spans(one_hot(torch.zeros_like(targets)), batch_of(targets), 2)
    assert scoring.span_f1(nothing)["score"] == 0.0  # though three of seven tokens are right


def one_hot(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 6).float()


def batch_of(targets: torch.Tensor):
    return Batch(tokens=targets, targets=targets)


def test_a_reversal_is_one() -> None:
    batch = drawn("seq2seq_reverse")
    assert torch.equal(batch.tokens[:, 1:32].flip(1), batch.tokens[:, 33:])
    assert torch.equal(batch.targets[:, 32:-1], batch.tokens[:, 33:])
    assert (batch.tokens[:, [0, 32]] == torch.tensor([0, 1])).all()


def test_the_end_of_a_window_of_bytes_stood_in_its_first_half() -> None:
    batch = drawn("byte_lm")
    assert torch.equal(batch.tokens[:, 1:], batch.targets[:, :-1])
    for tokens, targets in zip(batch.tokens, batch.targets, strict=True):
        window = torch.cat([tokens, targets[-1:]])
        repeat, half = bytes(window[-32:].tolist()), bytes(window[:64].tolist())
        assert repeat in half
    kinds = batch.notes["kinds"]
    assert (kinds == scoring.FAR).sum(dim=1).tolist() == [24] * 8
    assert (kinds == scoring.LEAD).sum(dim=1).tolist() == [8] * 8


def test_enwik8_is_refused_unless_size_and_hash_are_right(tmp_path: Path) -> None:
    file = tmp_path / "enwik8"
    file.write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match=r"enwik8: 1,000 bytes; enwik8 has 100,000,000"):
        byte_lm.make(Setting(seq_len=128, vocab=256, data_path=str(file)))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"sha256 {digest}"):
        userfile.check(file, "enwik8", "sha256", "0" * 64, 1000)
    userfile.check(file, "enwik8", "sha256", digest, 1000)


def test_an_expression_is_evaluated_as_its_text_reads() -> None:
    source = listops.make(Setting(seq_len=64, vocab=16))
    batch = source.draw("train", 50, stream("train", 0))
    assert batch.mask is not None
    for tokens, mask, value in zip(batch.tokens, batch.mask, batch.targets, strict=True):
        text = tokens[mask].tolist()
        assert value_of(iter(text)) == value
        assert 16 <= len(text) <= 64


def value_of(tokens) -> int:
    token = next(tokens)
    if token < 10:
        return token
    values = []
    while (found := next(tokens)) != 14:
        values.append(value_of(itertools.chain([found], tokens)))
    return {
        10: lambda: min(values),
        11: lambda: max(values),
        12: lambda: int(np.median(values)),
        13: lambda: sum(values) % 10,
    }[token]()


def test_markers_differ_in_exactly_one_where_texts_do_not_match() -> None:
    batch = drawn("match", 50)
    for pair, matches in zip(batch.tokens, batch.targets.tolist(), strict=True):
        held = [set(text[text >= 64].tolist()) for text in pair]
        assert len(held[0]) == len(held[1]) == 4
        assert len(held[0] & held[1]) == (4 if matches else 3)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "zero"), (13, "thirteen"), (40, "forty"), (85, "eighty five"), (100, "one hundred"),
        (907, "nine hundred seven"), (1000, "one thousand"), (21_350, "twenty one thousand three "
        "hundred fifty"), (999_999, "nine hundred ninety nine thousand nine hundred ninety nine"),
    ],
)  # fmt: skip
def test_numbers_are_said_in_english(number: int, text: str) -> None:
    small = (
        "zero,one,two,three,four,five,six,seven,eight,nine,ten,eleven,twelve,thirteen,fourteen,"
        "fifteen,sixteen,seventeen,eighteen,nineteen,"
    )
    tens = "twenty,thirty,forty,fifty,sixty,seventy,eighty,ninety,hundred,thousand"
    vocabulary = re.split(",", small + tens)
    said = [vocabulary[token - num2words.WORD] for token in num2words.in_words(number)]
    assert " ".join(said) == text


def test_a_question_to_a_haystack_is_answered_by_its_needle_at_the_told_depth() -> None:
    batch = drawn("needle", 40)
    for tokens, targets, kind in zip(
        batch.tokens.tolist(), batch.targets.tolist(), batch.notes["kinds"].tolist(), strict=True
    ):
        size, zone = 256 // needle.PARTS[kind // needle.ZONES], kind % needle.ZONES
        assert tokens[size - 2] == needle.ASK
        answers = [i for i, target in enumerate(targets) if target != IGNORED]
        assert answers == [size - 1]
        marks = [i for i in range(size) if tokens[i] == needle.MARK]
        (place,) = [i for i in marks if tokens[i + 1] == tokens[size - 1]]
        assert tokens[place + 2] == targets[size - 1]
        assert len(marks) == 2
        room = (size - 2) // needle.NEEDLE
        assert zone * room // needle.ZONES <= place // needle.NEEDLE
        assert place // needle.NEEDLE < (zone + 1) * room // needle.ZONES


def test_the_effective_length_ends_where_a_length_fails() -> None:
    sums = {}
    for length, right in ((32, 10), (64, 10), (128, 5), (256, 10)):
        sums |= {f"asked length_{length}_depth_0": 10, f"right length_{length}_depth_0": right}
    figures = needle.figures(sums)
    assert figures["effective_length"] == 64
    assert figures["score"] == 35 / 40
    assert figures["length_128_depth_0"] == 0.5


@pytest.mark.parametrize("name", ["imdb", "cifar10"])
def test_another_archive_is_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "archive.tar.gz"
    file.write_bytes(b"no archive")
    length = TASKS.load(name).defaults["seq_len"]
    with pytest.raises(ValueError, match=r"archive\.tar\.gz: (md5|10 bytes)"):
        TASKS.load(name).make(Setting(seq_len=length, vocab=257, data_path=str(file)))


def test_reviews_are_read_from_their_archive(tmp_path: Path) -> None:
    for split, kind, number in (("train", "pos", 1), ("train", "neg", 2), ("test", "neg", 3)):
        place = tmp_path / f"aclImdb/{split}/{kind}/{number}_9.txt"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"review {number}")
    file = tmp_path / "reviews.tar.gz"
    with tarfile.open(file, "w:gz") as archive:
        archive.add(tmp_path / "aclImdb", arcname="aclImdb")
    found = imdb.read(file)
    assert found["test"] == ((b"review 3", 0),)
    assert sorted([*found["train"], *found["validation"]]) == [(b"review 1", 1), (b"review 2", 0)]


def test_pictures_are_read_without_running_what_a_pickle_names(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (print, ("run",))

    with pytest.raises(pickle.UnpicklingError, match="is not in pictures"):
        cifar10.Arrays(io.BytesIO(pickle.dumps(Evil())), encoding="bytes").load()
    array = np.arange(6, dtype=np.uint8)
    for protocol in (2, 4):
        read = cifar10.Arrays(io.BytesIO(pickle.dumps({b"data": array}, protocol))).load()
        assert (read[b"data"] == array).all()


def test_both_markings_of_entities_are_one() -> None:
    first = conll03.labels(["I-PER", "I-PER", "O", "I-LOC", "B-LOC", "I-ORG"])
    second = conll03.labels(["B-PER", "I-PER", "O", "B-LOC", "B-LOC", "B-ORG"])
    assert first == second == [1, 2, 0, 5, 5, 3]


def test_documents_are_read_with_their_sentences(tmp_path: Path) -> None:
    file = tmp_path / "eng.train"
    file.write_text(
        "-DOCSTART- -X- O O\n\nEU NNP I-NP I-ORG\nrejects VBZ I-VP O\n\nPeter NNP I-NP I-PER\n\n"
        "-DOCSTART- -X- O O\n\nRome NNP I-NP I-LOC\n"
    )
    assert conll03.read(file) == (
        ((("EU", 3), ("rejects", 0)), (("Peter", 1),)),
        ((("Rome", 5),),),
    )
    for name in ("eng.testa", "eng.testb"):
        (tmp_path / name).write_text(file.read_text())
    with pytest.raises(ValueError, match=r"eng.train has 4 words, not 203,621"):
        conll03.make(Setting(seq_len=64, vocab=2000, data_path=str(file)))
