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
    records: int | None = None
    """How many were sent, in modes that go by time; None where the workload told it."""
    idle_rss_mib: float | None = None
    """The process's memory with an open producer before the first record, in mode "sustained"."""
    commit_us: dict[str, float] | None = None
    """Of the calls that commit alone, in mode "transactions", where `latency_us` is of whole transactions."""

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

    @property
    def seconds(self) -> float:
        """Since its making."""
        return time.perf_counter() - self._started

    def stop(
        self,
        acked: int | None,
        *,
        failed: int = 0,
        latencies: list[float] | None = None,
        records: int | None = None,
        idle_rss_mib: float | None = None,
        commits: list[float] | None = None,
    ) -> Measurement:
        """End the measurement. `latencies` are seconds, one for each awaited record or chunk; so are `commits`."""
        seconds = self.seconds
        cpu_seconds = _cpu_seconds() - self._cpu
        return Measurement(
            acked,
            failed,
            seconds,
            cpu_seconds,
            _peak_rss_mib(),
            percentiles(latencies) if latencies else None,
            records,
            idle_rss_mib,
            percentiles(commits) if commits else None,
        )


def percentiles(latencies: list[float]) -> dict[str, float]:
    """The percentiles of some seconds, in microseconds."""
    ordered = sorted(latencies)
    return {name: ordered[int(len(ordered) * part)] * 1e6 for name, part in PERCENTILES.items()}


def rss_mib(process_id: int | None = None) -> float:
    """The memory a process has now, this one's if none is named; 0 where the system does not tell, or it ended."""
    return _status("VmRSS", process_id) or 0.0


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_rss_mib() -> float:
    # ru_maxrss starts with the size of the process that started this one.
    peak = _status("VmHWM", None)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 if peak is None else peak


def _status(name: str, process_id: int | None) -> float | None:
    """A size from Linux's account of a process, in MiB."""
    try:
        text = Path(f"/proc/{process_id or 'self'}/status").read_text()
    except OSError:
        return None
    found = [line.split()[1] for line in text.splitlines() if line.startswith(name + ":")]
    return int(found[0]) / 1024 if found else None
