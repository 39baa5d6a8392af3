"""When a series of samples on a device is long enough, by nvbench's rule, and the words for it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from harness.schema import Protocol
from harness.worker.sampling import FEWEST, NS

# Every word that `Measurement.stop` may hold.
STOPS: Mapping[str, str] = {
    "single": "one value was taken: it does not vary",
    "enough": "the least number of samples and the least time were reached",
    "stable": "the relative standard deviation fell below 0.5 %",
    "noise_floor": "the relative standard deviation is steady: more samples do not lower it",
    "max_time": "the time budget was spent",
    "max_samples": "the greatest number of samples was reached",
    "ended": "the sitting ended before that",
}
MAX_NOISE = 0.005  # relative standard deviation that counts as stable
_ESTIMATES = 64  # of the noise, from which on its own spread is judged
_WINDOW = 512  # estimates that are remembered
_FLOOR = 0.05  # relative standard deviation of the estimates that counts as a floor


class StopRule:
    """Watches samples arrive and says when to stop.

    As in NVIDIA's nvbench (`stdrel_criterion`): stop at the least number of samples and the least
    time as soon as the relative standard deviation is below 0.5 % or, after 64 estimates of it,
    as soon as the estimates themselves vary by less than 5 %.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._mean = self._squares = 0.0  # Welford's running mean and sum of squared deviations
        self._noises: deque[float] = deque(maxlen=_WINDOW)
        self.count = 0

    @property
    def noise(self) -> float:
        """Relative standard deviation of the samples so far; infinite while it cannot be told."""
        if self.count < 2:
            return math.inf
        if not self._mean:  # a step that is shorter than the clock's tick
            return 0.0 if not self._squares else math.inf
        return math.sqrt(self._squares / (self.count - 1)) / self._mean

    def add(self, sample: float) -> None:
        """Take one sample into account."""
        self.count += 1
        off = sample - self._mean
        self._mean += off / self.count
        self._squares += off * (sample - self._mean)
        if math.isfinite(self.noise):
            self._noises.append(self.noise)

    def reason(self, elapsed_ns: int) -> str | None:
        """Return why sampling stops here, a word of `STOPS`, or None while it goes on.

        Args:
            elapsed_ns: wall time since the first sample began.
        """
        protocol = self._protocol
        if self.count >= protocol.min_samples and elapsed_ns >= protocol.min_time_s * NS:
            if self.noise < MAX_NOISE:
                return "stable"
            if self._is_floor():
                return "noise_floor"
        if self.count >= FEWEST and elapsed_ns >= protocol.max_time_s * NS:
            return "max_time"
        return "max_samples" if self.count >= protocol.max_samples else None

    def _is_floor(self) -> bool:
        if len(self._noises) < _ESTIMATES:
            return False
        mean = math.fsum(self._noises) / len(self._noises)
        spread = math.fsum((noise - mean) ** 2 for noise in self._noises) / (len(self._noises) - 1)
        return math.sqrt(spread) < _FLOOR * mean
