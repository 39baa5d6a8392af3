"""What tests of several modules of the cellar share."""

from collections.abc import Iterator
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def transformers() -> Iterator[ModuleType]:
    """The library whose Reformers ours is compared with; offline, and silent about it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        module = pytest.importorskip(
            "transformers", reason="parity needs the package transformers, of the extra dev"
        )
        module.logging.set_verbosity_error()  # it warns whenever it fills up an input
        yield module
