"""Runs rows, each in a process of its own, in turn over several rounds."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.broker import Topics
from benchmarks.catalogue import THROUGHPUT, Row, command
from benchmarks.measure import Measurement
from benchmarks.workload import Workload, write_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

ROOT = Path(__file__).resolve().parent.parent
RUN_TIMEOUT = 300.0
WARMUP_SHARE = 10
BROKER_WARMUP_ROW = Row("krafka", "krafka_", "send_many", "asyncio")


@dataclass(frozen=True, slots=True)
class Plan:
    """What the command line asked for."""

    rounds: int
    records: int
    awaited_records: int
    tasks: int
    task_records: int
    size: int
    partitions: int
    compression: str
    batch_sizes: tuple[int, ...]
    linger: float
    broker_warmup: int


@dataclass(frozen=True, slots=True)
class Run:
    """One row in one round: a measurement, or why there is none to trust."""

    row: Row
    round: int
    batch_size: int
    records: int
    load: float
    """The machine's load average when the run began: others' work slows it down."""
    measurement: Measurement | None
    trouble: str | None

    @property
    def label(self) -> str:
        """Rows of the table."""
        return f"{self.row.name} {self.batch_size // 1024} KiB"


def run_all(bootstrap: str, rows: Sequence[Row], plan: Plan, tell: Callable[[str], None]) -> list[Run]:
    """Run every row in every round; the order turns from round to round, so that nobody always follows the same."""
    runner = _Runner(bootstrap, plan)
    with tempfile.TemporaryDirectory(prefix="krafka-bench-") as folder:
        values_file = Path(folder) / "values"
        write_values(values_file, plan.size)
        runner.warm_up(values_file, tell)
        runs: list[Run] = []
        for round_number, row, batch_size in _turns(rows, plan):
            run = runner.run(row, round_number, batch_size, values_file)
            runs.append(run)
            tell(f"round {round_number + 1} {run.label}: {_told(run)}")
    return runs


def _turns(rows: Sequence[Row], plan: Plan) -> Iterator[tuple[int, Row, int]]:
    every = [(row, batch_size) for row in rows for batch_size in plan.batch_sizes]
    for number in range(plan.rounds):
        first = number * len(every) // plan.rounds
        for row, batch_size in every[first:] + every[:first]:
            yield number, row, batch_size


def _told(run: Run) -> str:
    if run.measurement is None or run.trouble is not None:
        return f"FAILED: {run.trouble}"
    rate = run.records / run.measurement.seconds
    return f"{rate:,.0f} records/s, {run.measurement.cpu_seconds / run.records * 1e6:.2f} µs"


class _Runner:
    def __init__(self, bootstrap: str, plan: Plan) -> None:
        self._bootstrap = bootstrap
        self._plan = plan
        self._topics = Topics(bootstrap)
        self._name = uuid.uuid4().hex[:8]
        self._count = 0

    def warm_up(self, values_file: Path, tell: Callable[[str], None]) -> None:
        """Let the broker's JVM compile what it will need: a cold one serves at half its speed."""
        if self._plan.broker_warmup:
            tell(f"warming the broker up with {self._plan.broker_warmup:,} records")
            workload = self._workload(BROKER_WARMUP_ROW, self._plan.batch_sizes[0], values_file)
            _, trouble = self._in_fresh_topic(
                BROKER_WARMUP_ROW, replace(workload, records=self._plan.broker_warmup)
            )
            if trouble is not None:
                tell(f"the warm-up failed: {trouble}")

    def run(self, row: Row, round_number: int, batch_size: int, values_file: Path) -> Run:
        """Run one row in a process of its own, in a topic of its own."""
        workload = self._workload(row, batch_size, values_file)
        load = os.getloadavg()[0]
        measurement, trouble = self._in_fresh_topic(row, workload)
        return Run(row, round_number, batch_size, workload.records, load, measurement, trouble)

    def _workload(self, row: Row, batch_size: int, values_file: Path) -> Workload:
        plan = self._plan
        self._count += 1
        if row.mode in THROUGHPUT:
            records, warmup, linger = plan.records, max(plan.records // WARMUP_SHARE, 1), plan.linger
        elif row.mode == "one":
            records, warmup, linger = plan.awaited_records, max(plan.awaited_records // WARMUP_SHARE, 1), 0.0
        else:
            records, warmup, linger = plan.tasks * plan.task_records, plan.tasks, 0.0
        return Workload(
            mode=row.mode,
            variant=row.variant,
            bootstrap=self._bootstrap,
            topic=f"krafka-bench-{self._name}-{self._count}",
            partitions=plan.partitions,
            records=records,
            warmup=warmup,
            tasks=plan.tasks,
            values_file=str(values_file),
            value_size=plan.size,
            compression=plan.compression,
            batch_size=batch_size,
            linger=linger,
        )

    def _in_fresh_topic(self, row: Row, workload: Workload) -> tuple[Measurement | None, str | None]:
        with self._topics.fresh(workload.topic, workload.partitions):
            measurement, trouble = _run_process(row, workload)
            if measurement is not None and trouble is None:
                written = self._topics.records_in(workload.topic, workload.partitions)
                trouble = judged(
                    measurement, records=workload.records, warmup=workload.warmup, written=written
                )
        return measurement, trouble


def judged(measurement: Measurement, *, records: int, warmup: int, written: int) -> str | None:
    """Say why a measurement is not to be trusted, None if it is: what the client claims, against the log."""
    if measurement.failed:
        return f"{measurement.failed} records failed"
    if measurement.acked is not None and measurement.acked != records:
        return f"{measurement.acked} of {records} records were acknowledged"
    if written != records + warmup:
        return f"the log holds {written} records of {records + warmup}"
    return None


def _run_process(row: Row, workload: Workload) -> tuple[Measurement | None, str | None]:
    try:
        arguments = [*command(row), workload.to_json()]
        done = subprocess.run(  # noqa: S603 - the catalogue's commands
            arguments, cwd=ROOT, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False
        )
    except RuntimeError as error:
        return None, str(error)
    except subprocess.TimeoutExpired:
        return None, f"it took more than {RUN_TIMEOUT:g} s"
    if done.returncode:
        return None, f"it ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
    return Measurement.from_json(done.stdout.strip().splitlines()[-1]), None
