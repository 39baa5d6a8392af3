"""The time of a launch, hidden behind a kernel that keeps the device busy, and proof that it is."""

from __future__ import annotations

from typing import Any

from harness.worker.spin import LONGEST_NS, Spin

SHARE = 2  # of the host's time for a step that the device is kept busy
LEAST_NS = 20_000
HIDDEN = 0.95  # share of samples that must have been hidden


class Cover:
    """Keeps the device busy before each sample until the host has queued all of the step.

    Whether it lasted long enough is seen, not assumed: if the start event had not yet come to pass
    when the end event was queued, no kernel of the step waited for the host.
    """

    def __init__(self, spin: Spin, host_ns: float) -> None:
        self._spin = spin
        self._exposed_now = False
        self.duration_ns = max(LEAST_NS, SHARE * host_ns) if spin.sleep else 0.0
        self.reason = spin.reason
        self.samples = self.exposed = 0

    @property
    def hidden(self) -> bool:
        """Whether the launch was hidden in nearly all samples."""
        return self.samples > 0 and self.exposed <= (1 - HIDDEN) * self.samples

    def queue(self) -> None:
        """Make the device busy."""
        self._spin.queue(self.duration_ns)

    def saw(self, start: Any) -> None:
        """Note whether the start event came to pass before the host was done."""
        self.samples += 1
        if start.query():
            self.exposed += 1
            self._exposed_now = True

    def widen(self) -> None:
        """Wait twice as long from the next block on if this one was exposed."""
        if self._exposed_now and self._spin.sleep:
            self.duration_ns = min(2 * self.duration_ns, LONGEST_NS)
        self._exposed_now = False
