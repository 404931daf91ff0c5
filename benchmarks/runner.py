"""Runs rows, each in a process of its own, in turn over several rounds."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.broker import Topics
from benchmarks.catalogue import BY_NAME, Row, command
from benchmarks.measure import Measurement, rss_mib
from benchmarks.results import Run, cpu_share, cpu_us, rate
from benchmarks.scenarios import BASE, CHUNKED, HEADERS, THROUGHPUT, Scenario
from benchmarks.workload import Workload, write_values

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.broker import Brokers

ROOT = Path(__file__).resolve().parent.parent
RUN_TIMEOUT = 300.0
MEMORY_INTERVAL = 1.0
WARMUP_SHARE = 10
BROKER_WARMUP_ROW = Row("krafka", "krafka_", "send_many", "asyncio")


class Runner:
    """Runs scenarios against one Kafka, and tells what comes out as it goes."""

    def __init__(self, brokers: Brokers, rounds: int, tell: Callable[[str], None]) -> None:
        self._brokers = brokers
        self._rounds = rounds
        self._tell = tell
        self._topics = Topics(brokers.bootstrap)
        self._name = uuid.uuid4().hex[:8]
        self._count = 0

    def warm_up(self, records: int) -> None:
        """Let the brokers' JVMs compile what they will need: a cold one serves at half its speed."""
        if not records:
            return
        self._tell(f"warming up {self._brokers.count} brokers with {records:,} records")
        scenario = replace(BASE, records=records, brokers=self._brokers.count)
        with _values_file(scenario) as values_file:
            workload = self._workload(scenario, BROKER_WARMUP_ROW, scenario.batch_sizes[0], values_file)
            finished = self._in_fresh_topics(scenario, BROKER_WARMUP_ROW, workload)
        if finished.trouble is not None:
            self._tell(f"the warm-up failed: {finished.trouble}")

    def run_all(self, scenario: Scenario, rows: Sequence[Row]) -> list[Run]:
        """Every row in every round; the order turns from round to round, so that nobody always follows the same."""
        runs: list[Run] = []
        with _values_file(scenario) as values_file:
            for round_number, row, batch_size in self._turns(scenario, rows):
                workload = self._workload(scenario, row, batch_size, values_file)
                load = os.getloadavg()[0]
                done = self._in_fresh_topics(scenario, row, workload)
                records = workload.records
                if done.measurement is not None and done.measurement.records is not None:
                    records = done.measurement.records
                run = Run(
                    scenario.name,
                    row,
                    round_number,
                    batch_size,
                    records,
                    load,
                    done.measurement,
                    done.trouble,
                    done.memory,
                )
                runs.append(run)
                self._tell(f"{scenario.name}, round {round_number + 1}, {run.label}: {_told(run)}")
        return runs

    def _turns(self, scenario: Scenario, rows: Sequence[Row]) -> Iterator[tuple[int, Row, int]]:
        every = [(row, batch_size) for row in rows for batch_size in scenario.batch_sizes]
        rounds = min(self._rounds, scenario.most_rounds or self._rounds)
        for number in range(rounds):
            first = number * len(every) // rounds
            for row, batch_size in every[first:] + every[:first]:
                yield number, row, batch_size

    def _workload(self, scenario: Scenario, row: Row, batch_size: int, values_file: Path) -> Workload:
        self._count += 1
        name = f"krafka-bench-{self._name}-{self._count}"
        topics = [name] if scenario.topics == 1 else [f"{name}-{each}" for each in range(scenario.topics)]
        records, warmup = _records(scenario, row)
        bootstrap = self._brokers.tls_bootstrap if scenario.tls else self._brokers.bootstrap
        assert bootstrap is not None  # noqa: S101 - scenarios with TLS are given brokers with TLS
        return Workload(
            mode=row.mode,
            variant=row.variant,
            bootstrap=bootstrap,
            ca_file=self._brokers.ca_file if scenario.tls else "",
            topics=topics,
            partitions=scenario.partitions,
            records=records,
            warmup=warmup,
            tasks=scenario.tasks,
            chunk=scenario.chunk,
            seconds=scenario.seconds,
            values_file=str(values_file),
            value_size=scenario.value_size,
            headers=[list(pair) for pair in HEADERS] if scenario.headers else [],
            compression=scenario.compression,
            batch_size=batch_size,
            linger=scenario.linger
            if row.mode in {*THROUGHPUT, *CHUNKED, "sustained"}
            else scenario.awaited_linger,
        )

    def _in_fresh_topics(self, scenario: Scenario, row: Row, workload: Workload) -> _Finished:
        with self._topics.fresh(
            workload.topics,
            workload.partitions,
            replicas=scenario.brokers,
            short_memory=row.mode == "sustained",
        ):
            done = _run_process(row, workload)
            if done.measurement is None or done.trouble is not None:
                return done
            if row.mode == "transactions":
                # Commits are in the log too, so that only who reads it can tell.
                written = self._topics.committed_in(workload.topic, workload.partitions)
            else:
                written = self._topics.records_in(workload.topics, workload.partitions)
            trouble = judged(
                done.measurement, records=workload.records, warmup=workload.warmup, written=written
            )
            return replace(done, trouble=trouble)


@dataclass(frozen=True, slots=True)
class _Finished:
    """What a process came to."""

    measurement: Measurement | None
    trouble: str | None
    memory: tuple[tuple[float, float], ...] = ()


@contextmanager
def _values_file(scenario: Scenario) -> Iterator[Path]:
    """The file with a scenario's values, for the time of a block."""
    with tempfile.TemporaryDirectory(prefix="krafka-bench-") as folder:
        path = Path(folder) / "values"
        write_values(path, scenario.value_size)
        yield path


def _records(scenario: Scenario, row: Row) -> tuple[int, int]:
    """How many records a row sends in a run, and how many before it."""
    if row.mode in THROUGHPUT:
        records = max(int(scenario.records * BY_NAME[row.client].share), 1)
        return records, max(records // WARMUP_SHARE, 1)
    if row.mode in CHUNKED:
        chunks = max(int(scenario.records * BY_NAME[row.client].share) // scenario.chunk, 1)
        return chunks * scenario.chunk, max(chunks // WARMUP_SHARE, 1) * scenario.chunk
    if row.mode == "one":
        return scenario.awaited_records, max(scenario.awaited_records // WARMUP_SHARE, 1)
    if row.mode == "tasks":
        return scenario.tasks * max(int(scenario.task_records * BY_NAME[row.client].share), 1), scenario.tasks
    if row.mode == "sustained":
        return 0, max(scenario.records // WARMUP_SHARE, 1)
    return scenario.topics, 0


def _told(run: Run) -> str:
    if run.trouble is not None:
        return f"FAILED: {run.trouble}"
    if run.row.mode == "idle":
        return f"{cpu_share(run):.2f} % of a processor"
    return f"{rate(run):,.0f} records/s, {cpu_us(run):.2f} µs"


def judged(measurement: Measurement, *, records: int, warmup: int, written: int) -> str | None:
    """Say why a measurement is not to be trusted, None if it is: what the client claims, against the log."""
    if measurement.records is not None:
        records = measurement.records
    if measurement.failed:
        return f"{measurement.failed} records failed"
    if measurement.acked is not None and measurement.acked != records:
        return f"{measurement.acked} of {records} records were acknowledged"
    if written != records + warmup:
        return f"the log holds {written} records of {records + warmup}"
    return None


def _run_process(row: Row, workload: Workload) -> _Finished:
    try:
        arguments = [*command(row), workload.to_json()]
    except RuntimeError as error:
        return _Finished(None, str(error))
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        # A group of its own, as Kafka's tool is a process of the process.
        process = subprocess.Popen(  # noqa: S603 - the catalogue's commands
            arguments, cwd=ROOT, stdout=said, stderr=complained, start_new_session=True
        )
        try:
            memory = _wait(process, workload)
        except subprocess.TimeoutExpired as error:
            return _Finished(None, f"it took more than {error.timeout:g} s")
        finally:
            _end(process)
        said.seek(0)
        complained.seek(0)
        if process.returncode:
            return _Finished(None, f"it ended with {process.returncode}: {complained.read().strip()[-2000:]}")
        return _Finished(Measurement.from_json(said.read().strip().splitlines()[-1]), None, tuple(memory))


def _wait(process: subprocess.Popen[bytes], workload: Workload) -> list[tuple[float, float]]:
    """Wait for a process to end; returns its memory over time if that is what is asked."""
    started = time.monotonic()
    memory: list[tuple[float, float]] = []
    timeout = RUN_TIMEOUT + workload.seconds
    while workload.mode == "sustained":
        seconds = time.monotonic() - started
        if seconds > timeout:
            raise subprocess.TimeoutExpired(process.args, timeout)
        try:
            process.wait(MEMORY_INTERVAL)
        except subprocess.TimeoutExpired:
            memory.append((round(time.monotonic() - started, 3), round(rss_mib(process.pid), 2)))
        else:
            return memory
    process.wait(timeout)
    return memory


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of a process and those it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
