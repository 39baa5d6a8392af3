import gzip
import json
from pathlib import Path

import pytest

from harness.worker.metric import Bench
from harness.worker.metrics.profile import METRIC, TRACE, collect


def lsh(job, **changes):
    """A cell whose attention hashes, sorts and gathers."""
    fields = {"attention": "lsh", "options": {"chunk": 16, "hashes": 2}, "plugins": ()}
    return job(**fields | changes)


@pytest.mark.parametrize("phase", ["forward", "train_step"])
def test_families_add_up_to_the_step(job, phase: str) -> None:
    found = {
        m.metric: m.samples
        for m in collect(Bench(job=lsh(job, phase=phase, seq_len=128))).measurements
    }
    steps = found.pop("profile_step")
    total = [sum(samples) for samples in zip(*found.values(), strict=True)]
    assert total == pytest.approx(steps, rel=1e-3)
    assert {"profile_hashing", "profile_sort", "profile_gather_scatter"} <= found.keys()
    assert ("profile_optimizer" in found) == (phase == "train_step")


def test_the_headline_and_the_share_that_is_explained_are_there(job) -> None:
    found = collect(Bench(job=job()))
    assert METRIC.headline in {m.metric for m in found.measurements}
    assert 0 < found.facts["profile"]["explained"] <= 1
    assert found.facts["profile"]["trace"] is None
    name, family, ns, calls = found.facts["profile"]["top"][0]
    assert name
    assert family
    assert ns > 0
    assert calls > 0
    assert json.dumps(found.facts)


def test_the_trace_is_an_artifact_without_a_path_of_this_machine(job, tmp_path: Path) -> None:
    found = collect(Bench(job=job(artifacts=str(tmp_path / "cell"))))
    assert found.facts["profile"]["trace"] == TRACE
    text = gzip.decompress((tmp_path / "cell" / TRACE).read_bytes()).decode()
    assert json.loads(text)["traceEvents"]
    assert str(tmp_path) not in text
    assert "/tmp" not in text
