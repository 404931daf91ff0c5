"""What was measured: runs as they are kept in a file, their figures, and ratios of figures within each round."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.catalogue import Row
from benchmarks.measure import Measurement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from benchmarks.scenarios import Scenario

# A process takes its memory in the first seconds; growth is what comes after this part of a run.
SETTLED_AFTER = 0.2


@dataclass(frozen=True, slots=True)
class Run:
    """One row in one round: a measurement, or why there is none to trust."""

    scenario: str
    row: Row
    round: int
    batch_size: int
    records: int
    load: float
    """The machine's load average when the run began: others' work slows it down."""
    measurement: Measurement | None
    trouble: str | None
    memory: tuple[tuple[float, float], ...] = ()
    """Seconds since the process began, and its memory in MiB; looked at in mode "sustained" alone."""

    @property
    def label(self) -> str:
        """Rows of the table, beside others of the same scenario with other batch sizes."""
        return f"{self.row.name} {self.batch_size // 1024} KiB"

    @property
    def measured(self) -> Measurement:
        """The measurement of a run that has one."""
        assert self.measurement is not None  # noqa: S101 - callers choose runs without trouble
        return self.measurement

    @classmethod
    def from_json(cls, kept: dict[str, Any]) -> Run:
        """Take back what `document` kept."""
        measurement = kept["measurement"]
        changed = {
            "row": Row(**kept["row"]),
            "measurement": None if measurement is None else Measurement(**measurement),
            "memory": tuple((seconds, mib) for seconds, mib in kept["memory"]),
        }
        return cls(**{**kept, **changed})


def document(
    runs: Sequence[Run], scenarios: Iterable[Scenario], machine: dict[str, Any], rounds: int
) -> dict[str, Any]:
    """Everything that was measured, and on what, for a file."""
    return {
        "machine": machine,
        "rounds": rounds,
        "scenarios": [asdict(scenario) for scenario in scenarios],
        "runs": [asdict(run) for run in runs],
    }


# -- figures of one run ------------------------------------------------------------------------------------------------


def rate(run: Run) -> float:
    """Records per second."""
    return run.records / run.measured.seconds


def cpu_us(run: Run) -> float:
    """Microseconds of the client's CPU time for each record."""
    return run.measured.cpu_seconds / run.records * 1e6


def cpu_share(run: Run) -> float:
    """CPU time of a second, in percent of one processor."""
    return run.measured.cpu_seconds / run.measured.seconds * 100


def commit_percentile(name: str) -> Callable[[Run], float]:
    """The same of the calls that commit alone; 0 in modes without."""

    def figure(run: Run) -> float:
        return (run.measured.commit_us or {}).get(name, 0.0)

    return figure


def percentile(name: str) -> Callable[[Run], float]:
    """A latency in microseconds: "p50", "p99" or "p999"."""

    def figure(run: Run) -> float:
        latency = run.measured.latency_us
        assert latency is not None  # noqa: S101 - modes that await each record have it
        return latency[name]

    return figure


def peak_mib(run: Run) -> float:
    """The most memory the process had."""
    return run.measured.peak_rss_mib


def peak_over_idle_mib(run: Run) -> float:
    """The most memory the process had beyond that before its first record."""
    return run.measured.peak_rss_mib - (run.measured.idle_rss_mib or 0.0)


def growth_mib(run: Run) -> float:
    """MiB a minute: the slope of the memory over time, its start left out."""
    if not run.memory:
        return 0.0
    start = run.memory[-1][0] * SETTLED_AFTER
    points = [(seconds / 60, mib) for seconds, mib in run.memory if seconds >= start]
    middle = sum(minutes for minutes, _ in points) / len(points)
    spread = sum((minutes - middle) ** 2 for minutes, _ in points)
    return sum((minutes - middle) * mib for minutes, mib in points) / spread if spread else 0.0


# -- several runs ------------------------------------------------------------------------------------------------------


def sound(runs: Iterable[Run]) -> list[Run]:
    """Those that can be trusted."""
    return [run for run in runs if run.trouble is None and run.measurement is not None]


def chosen(runs: Iterable[Run], scenario: str, name: str) -> list[Run]:
    """A row's runs that can be trusted."""
    return sound(run for run in runs if run.scenario == scenario and run.row.name == name)


def ratio(own: Iterable[Run], others: Iterable[Run], figure: Callable[[Run], float]) -> float | None:
    """The median over rounds of a figure divided by another row's in the same round: the machine's speed cancels.

    None where no round has both.
    """
    by_round = {(run.round, run.batch_size): figure(run) for run in others}
    ratios = [figure(run) / other for run in own if (other := by_round.get((run.round, run.batch_size), 0.0))]
    return median(ratios) if ratios else None
