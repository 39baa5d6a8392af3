import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from harness.codec import canonical, encode
from harness.worker import environment as module
from harness.worker import nvml
from harness.worker.environment import INFORM, INPUT, TIME, checkout, cpu_quota, environment


def fake_cuda():
    properties = SimpleNamespace(
        name="Fake 9000",
        major=9,
        minor=0,
        total_memory=1 << 37,
        multi_processor_count=132,
        L2_cache_size=50 << 20,
        uuid="secret-uuid",
    )
    return SimpleNamespace(get_device_properties=lambda _: properties)


def test_every_field_is_in_exactly_one_documented_group(job, monkeypatch) -> None:
    for name in module.VARIABLES:
        monkeypatch.setenv(name, "1")
    groups = [*INPUT, *TIME, *INFORM]
    fields = {*environment(job().cell, "digest").fields, *module._cuda(fake_cuda())}
    assert sorted(groups) == sorted(fields)
    assert all(key.startswith("info_") == (key in INFORM) for key in groups)


def test_the_record_is_the_same_each_time_and_is_json(job) -> None:
    one, two = environment(job().cell, "d"), environment(job().cell, "d")
    assert one.id == two.id
    assert canonical(encode(one))


def test_threads_and_text_are_part_of_it(job) -> None:
    base = environment(job().cell, "d").id
    assert environment(job(threads=2).cell, "d").id != base
    assert environment(job().cell, "e").id != base


def test_the_seed_is_no_part_of_it(job) -> None:
    assert environment(job(seed=1).cell, "d").id == environment(job(seed=2).cell, "d").id


def test_settings_that_change_speed_are_part_of_it(job, monkeypatch) -> None:
    base = environment(job().cell, "d").id
    monkeypatch.setenv("OMP_WAIT_POLICY", "somehow")
    found = environment(job().cell, "d")
    assert found.id != base
    assert found.fields["env_omp_wait_policy"] == "somehow"


def test_no_path_and_no_name_of_user_or_host_is_in_it(job, monkeypatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/home/someone/lib/libjemalloc.so")
    text = canonical(encode(environment(job().cell, "d")))
    assert "libjemalloc.so" in text
    for secret in ("/home", "someone", str(Path.cwd()), module.platform.node()):
        assert secret not in text


def test_a_cpu_cell_says_nothing_about_cuda_and_does_not_touch_it(job, monkeypatch) -> None:
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "get_device_properties", fail)
    assert "device_name" not in environment(job().cell, "d").fields


def test_the_cuda_device_is_described_but_its_uuid_is_only_a_fingerprint(monkeypatch) -> None:
    unknown = nvml.Reading(reason="NVML: no permission")
    monkeypatch.setattr(nvml, "driver_version", lambda: unknown)
    found = module._cuda(fake_cuda())
    assert found["device_name"] == "Fake 9000"
    assert found["device_l2_bytes"] == 50 << 20
    assert (found["driver"], found["info_driver_unknown"]) == (None, "NVML: no permission")
    assert len(found["info_device"]) == 12
    assert "secret-uuid" not in str(found)


@pytest.mark.parametrize(
    ("text", "quota"), [("200000 100000\n", 2.0), ("50000 100000\n", 0.5), ("max 100000\n", None)]
)
def test_a_cgroups_quota_is_read(tmp_path: Path, text: str, quota: float | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == quota
    assert cpu_quota(tmp_path / "nowhere") is None


def test_the_commit_is_known_in_a_checkout_and_a_change_makes_it_dirty(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        command = ("git", "-C", str(tmp_path), *identity, *arguments)
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def asked():
        checkout.cache_clear()
        return checkout(tmp_path)

    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "variant.py").touch()
    git("init", "--quiet")
    assert asked() == {"info_commit": None, "info_dirty": True}
    git("add", ".")
    git("commit", "--quiet", "-m", "x")
    assert asked() == {"info_commit": git("rev-parse", "HEAD"), "info_dirty": False}
    (tmp_path / "models" / "new.py").touch()
    assert asked()["info_dirty"]
    checkout.cache_clear()


@pytest.mark.parametrize("failure", [FileNotFoundError, subprocess.TimeoutExpired("git", 5)])
def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch, failure) -> None:
    def fail(*_, **__):
        raise failure

    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(module.subprocess, "run", fail)
    checkout.cache_clear()
    assert checkout(tmp_path) == {"info_commit": None, "info_dirty": None}
    checkout.cache_clear()


def test_an_installed_package_has_no_commit(tmp_path: Path) -> None:
    assert checkout(tmp_path)["info_commit"] is None
