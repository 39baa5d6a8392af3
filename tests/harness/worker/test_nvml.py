from types import SimpleNamespace

import pytest

from harness.worker import nvml


class FakeError(Exception):
    pass


class FakeLibrary:
    """NVML with one device, `GPU-card` or `MIG-slice`."""

    NVMLError = FakeError

    def __init__(
        self,
        used: int | None = 123,
        driver: str | bytes = "570.1",
        fails: tuple[str, ...] = (),
        name: str = "GPU-card",
    ) -> None:
        self.used, self.driver, self.fails, self.name = used, driver, fails, name
        self.open = 0

    def _call(self, what):
        if what in self.fails:
            raise FakeError(f"{what} failed")

    def nvmlInit(self):  # noqa: N802 - NVML's name
        self._call("init")
        self.open += 1

    def nvmlShutdown(self):  # noqa: N802 - NVML's name
        self.open -= 1

    def nvmlSystemGetDriverVersion(self):  # noqa: N802 - NVML's name
        self._call("driver")
        return self.driver

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802 - NVML's name
        if uuid != self.name:
            raise FakeError("not found")
        return uuid

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802 - NVML's name
        assert handle == self.name
        self._call("memory")
        return SimpleNamespace(used=self.used)


def cuda(uuid: str | None = "card"):
    return SimpleNamespace(get_device_properties=lambda _: SimpleNamespace(uuid=uuid))


@pytest.mark.parametrize("name", ["GPU-card", "MIG-card"])
def test_the_device_is_found_by_its_uuid(name: str) -> None:
    library = FakeLibrary(name=name)
    assert nvml.used_bytes(library, cuda()) == nvml.Reading(value=123)
    assert library.open == 0


def test_the_driver_is_text_whatever_the_library_gives() -> None:
    assert nvml.driver_version(FakeLibrary(driver=b"570.1")).value == "570.1"
    assert nvml.driver_version(FakeLibrary()).value == "570.1"


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (FakeLibrary(fails=("init",)), "init failed"),
        (FakeLibrary(fails=("memory",)), "memory failed"),
        (FakeLibrary(name="GPU-other"), "not found"),
        (FakeLibrary(used=None), "does not tell"),
    ],
)
def test_what_nvml_cannot_tell_is_none_with_a_reason(library, reason) -> None:
    reading = nvml.used_bytes(library, cuda())
    assert reading.value is None
    assert reason in str(reading.reason)
    assert library.open == 0


def test_without_the_library_the_reading_says_so(monkeypatch) -> None:
    monkeypatch.setattr(nvml, "_library", lambda: None)
    assert nvml.driver_version().reason == "nvidia-ml-py is not installed"


def test_without_a_device_the_reading_says_so() -> None:
    def fail(_):
        raise RuntimeError("no NVIDIA driver")

    reading = nvml.used_bytes(FakeLibrary(), SimpleNamespace(get_device_properties=fail))
    assert (reading.value, reading.reason) == (None, "no CUDA device: no NVIDIA driver")


def test_a_torch_without_uuid_is_no_error() -> None:
    assert "UUID" in str(nvml.used_bytes(FakeLibrary(), cuda(uuid=None)).reason)
