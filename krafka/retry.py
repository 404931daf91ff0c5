"""How long to wait before the next attempt."""

from __future__ import annotations

import math
from dataclasses import dataclass

from krafka.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExponentialBackoff:
    """Waits that double from attempt to attempt, spread by jitter so that clients do not return in step.

    `initial` and `maximum` are seconds; no wait exceeds `maximum`, jitter included. `jitter` is the
    share by which a wait varies up and down. Rule and defaults: KIP-580. Raises `ConfigError`.
    """

    initial: float
    maximum: float
    multiplier: float = 2.0
    jitter: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.initial < math.inf:
            raise ConfigError(f"initial must be at least 0 seconds and finite, got {self.initial!r}")
        if not self.initial <= self.maximum < math.inf:
            raise ConfigError(
                f"maximum must be finite and at least initial ({self.initial!r} s), got {self.maximum!r}"
            )
        if not 1 <= self.multiplier < math.inf:
            raise ConfigError(f"multiplier must be at least 1 and finite, got {self.multiplier!r}")
        if not 0 <= self.jitter < 1:
            raise ConfigError(f"jitter must be at least 0 and below 1, got {self.jitter!r}")

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait after failure number `attempt`, counted from 0.

        `random` is a number in [0, 1), as `random.Random.random()` gives; a seeded source makes the
        waits repeatable.
        """
        if attempt < 0:
            raise ValueError(f"attempt must be at least 0, got {attempt}")
        try:
            base = min(self.initial * self.multiplier**attempt, self.maximum)
        except OverflowError:
            base = self.maximum if self.initial else 0.0
        return min(base * (1 + self.jitter * (2 * random - 1)), self.maximum)
