"""The clock of one run: wall time, CPU time and memory of this process, and how long each awaited record took."""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

PERCENTILES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run came to; times in seconds, latencies in microseconds."""

    acked: int | None
    """Records the client said are acknowledged; None where this mode asks nobody but the log."""
    failed: int
    seconds: float
    cpu_seconds: float
    peak_rss_mib: float
    latency_us: dict[str, float] | None = None

    @classmethod
    def from_json(cls, text: str) -> Measurement:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Write the measurement as one line."""
        return json.dumps(asdict(self))


class Meter:
    """Measures from its making to `stop`."""

    def __init__(self) -> None:
        self._cpu = _cpu_seconds()
        self._started = time.perf_counter()

    def stop(
        self, acked: int | None, *, failed: int = 0, latencies: list[float] | None = None
    ) -> Measurement:
        """End the measurement. `latencies` are seconds, one for each awaited record."""
        seconds = time.perf_counter() - self._started
        cpu_seconds = _cpu_seconds() - self._cpu
        return Measurement(
            acked,
            failed,
            seconds,
            cpu_seconds,
            _peak_rss_mib(),
            percentiles(latencies) if latencies else None,
        )


def percentiles(latencies: list[float]) -> dict[str, float]:
    """The percentiles of some seconds, in microseconds."""
    ordered = sorted(latencies)
    return {name: ordered[int(len(ordered) * part)] * 1e6 for name, part in PERCENTILES.items()}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_rss_mib() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # ru_maxrss starts with the size of the process that started this one.
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
