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

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle):  # noqa: N802 - NVML's name
        assert handle.startswith("MIG-")
        return "GPU-whole"

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802 - NVML's name
        return {"GPU-whole": 7, "GPU-card": 5}[handle]

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


def test_a_card_is_asked_where_its_instance_has_no_sensor() -> None:
    with nvml.session(FakeLibrary(name="MIG-card"), cuda()) as device:
        assert device.ask("nvmlDeviceGetMemoryInfo").value.used == 123
        assert device.ask("nvmlDeviceGetPowerUsage", card=True).value == 7
    with nvml.session(FakeLibrary(), cuda()) as device:
        assert device.ask("nvmlDeviceGetPowerUsage", card=True).value == 5


@pytest.mark.parametrize(
    ("visible", "told", "name"),
    [
        ("MIG-slice", "whole", "MIG-slice"),  # torch may tell the whole card's UUID
        ("MIG-slice,GPU-other", None, "MIG-slice"),
        ("GPU-card,GPU-other", None, "GPU-card"),
        ("3", "card", "GPU-card"),  # an index is never asked for
        ("GPU-ca", "card", "GPU-card"),  # a prefix suffices for CUDA, not for NVML
        ("", "GPU-card", "GPU-card"),
    ],
)
def test_cuda_visible_devices_decides_which_device_is_in_use(visible, told, name) -> None:
    environ = {"CUDA_VISIBLE_DEVICES": visible}
    with nvml.session(FakeLibrary(name=name), cuda(told), environ) as device:
        assert (device.handle, device.reason) == (name, None)


def test_an_index_alone_finds_no_device() -> None:
    with nvml.session(FakeLibrary(), cuda(None), {"CUDA_VISIBLE_DEVICES": "0"}) as device:
        assert "UUID" in str(device.ask("nvmlDeviceGetMemoryInfo").reason)


def test_a_session_closes_the_library_also_when_its_user_fails() -> None:
    library = FakeLibrary()
    with pytest.raises(ZeroDivisionError), nvml.session(library, cuda()):
        raise ZeroDivisionError
    assert library.open == 0


def test_a_function_that_the_library_lacks_is_named() -> None:
    with nvml.session(FakeLibrary(), cuda()) as device:
        reading = device.ask("nvmlDeviceGetTotalEnergyConsumption")
    assert reading.reason == "this nvidia-ml-py has no nvmlDeviceGetTotalEnergyConsumption"
