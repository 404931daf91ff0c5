"""Workers that consume, transform and produce, killed at random points and started again; their output is judged."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import confluent_kafka

import krafka

from .readers import SECONDS, settled_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from anyio.abc import Process, TaskGroup

    from krafka.testing import KafkaCluster

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ROOT / "examples" / "transactions"
PARTITIONS = 3
KEYS = 50
RATE = 2000
"""Records a second."""
MARK = b"invoice for "
"""What the examples put before a record."""
START_SECONDS = 60.0
LONG_PAUSE = 8.0
"""Longer than the session of the examples' consumers: the group shares their partitions out among the others."""
SHOWN = 20
ON_TRIO = """
import runpy, sys
import trio, anyio
work = runpy.run_path(sys.argv[1])["work"]
anyio.run(work, *sys.argv[2:], backend="trio")
"""


@dataclass
class Worker:
    """One worker's program, and the process that runs it now."""

    command: list[str]
    log: Path
    process: Process | None = None
    kills: int = 0
    """How many times it was killed to be started again."""
    ends: list[int] = field(default_factory=list)
    """The exit codes of processes that ended by themselves."""
    wanted: bool = True

    async def keep_running(self) -> None:
        """Start it, and again whenever it has ended, until it is not wanted any more."""
        while self.wanted:
            with self.log.open("ab") as log:
                async with await anyio.open_process(
                    self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                ) as self.process:
                    code = await self.process.wait()
            if code != -9:
                self.ends.append(code)
                await anyio.sleep(1.0)

    def kill(self) -> None:
        """End the process at once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()


@dataclass
class Run:
    """One run: what was written to the source by key, and the workers."""

    kafka: KafkaCluster
    name: str
    program: Path
    folder: Path
    seed: int
    workers: int = 2
    on_trio: bool = False
    """Whether the program runs on trio and not, as it does by itself, on asyncio."""
    sent: dict[bytes, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    finished: bool = False

    @property
    def source(self) -> str:
        return f"{self.name}-source"

    @property
    def target(self) -> str:
        return f"{self.name}-target"

    async def run(self, kills: int) -> str:
        """Kill so many times while records come, wait until all are processed, and judge; return what happened."""
        random = Random(self.seed)
        for topic in (self.source, self.target):
            await self.kafka.create_topic(topic, partitions=PARTITIONS)
        workers = [self._worker(number) for number in range(self.workers)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._feed)
            for worker in workers:
                tasks.start_soon(worker.keep_running)
            await self._wait_for_output()
            await self._kill(workers, kills, random, tasks)
            self.finished = True
            await self._wait_until_processed()
            for worker in workers:
                worker.wanted = False
                worker.kill()
        return await self._judge(workers)

    def _worker(self, number: int) -> Worker:
        arguments = [self.kafka.bootstrap, self.source, self.target, self.name, f"worker-{number}"]
        started = ["-c", ON_TRIO, str(self.program)] if self.on_trio else [str(self.program)]
        return Worker([sys.executable, *started, *arguments], self.folder / f"worker-{number}.log")

    async def _feed(self) -> None:
        """Write numbered records under a few keys at an even rate."""
        random = Random(self.seed + 1)
        number = 0
        async with krafka.Producer(self.kafka.bootstrap) as producer:
            while not self.finished:
                for _ in range(RATE // 20):
                    key = b"key %d" % random.randrange(KEYS)
                    value = b"%d" % number
                    await producer.enqueue(self.source, value, key=key)
                    self.sent[key].append(value)
                    number += 1
                await anyio.sleep(0.05)

    async def _kill(self, workers: Sequence[Worker], kills: int, random: Random, tasks: TaskGroup) -> None:
        for number in range(kills):
            await anyio.sleep(random.uniform(0.0, 4.0))
            worker = workers[random.randrange(len(workers))]
            worker.kills += 1
            if number % 5 == 4:
                worker.wanted = False
                worker.kill()
                await anyio.sleep(LONG_PAUSE)
                worker.wanted = True
                tasks.start_soon(worker.keep_running)
            else:
                worker.kill()

    # -- waiting --------------------------------------------------------------------------------------------------

    async def _wait_for_output(self) -> None:
        with anyio.fail_after(START_SECONDS):
            while sum((await self.kafka.end_offsets(self.target)).values()) == 0:  # noqa: ASYNC110 - the brokers have no event to wait for
                await anyio.sleep(0.1)

    async def _wait_until_processed(self) -> None:
        with anyio.fail_after(SECONDS):
            while await anyio.to_thread.run_sync(self._lag):  # noqa: ASYNC110 - as above
                await anyio.sleep(0.5)

    def _lag(self) -> int:
        """How many records the group has not committed to have processed."""
        ends = self.kafka.sync.end_offsets(self.source)
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": self.kafka.bootstrap, "group.id": self.name}
        )
        try:
            asked = [confluent_kafka.TopicPartition(self.source, partition) for partition in ends]
            committed = consumer.committed(asked, SECONDS)
        finally:
            consumer.close()
        return sum(ends.values()) - sum(max(each.offset, 0) for each in committed)

    # -- judging --------------------------------------------------------------------------------------------------

    async def _judge(self, workers: Sequence[Worker]) -> str:
        ends = await settled_ends(self.kafka, [self.target])
        assert all(end.last_stable_offset == end.high_watermark for end in ends), ends
        written = await self.kafka.read(self.target, isolation="read_committed")
        all_of_it = len(await self.kafka.read(self.target))
        told = (
            f"{sum(map(len, self.sent.values()))} records, {len(written)} read back, "
            f"{all_of_it - len(written)} aborted; kills {[worker.kills for worker in workers]}, "
            f"ended by themselves {[worker.ends for worker in workers]}; seed {self.seed}"
        )
        violations = find_violations(self.sent, [(record.key, record.value) for record in written])
        logs = "\n".join(worker.log.read_text(errors="replace")[-3000:] for worker in workers)
        assert not violations, "\n  ".join([told, *violations[:SHOWN]]) + f"\n{logs}"
        return told


def find_violations(
    sent: dict[bytes, list[bytes]], written: Sequence[tuple[bytes | None, bytes | None]]
) -> list[str]:
    """How what was written differs from what was sent, transformed: each once, under its key, in its order."""
    violations = []
    found: dict[bytes | None, list[bytes | None]] = defaultdict(list)
    for key, value in written:
        found[key].append(value)
    for key in sent.keys() | found.keys():
        expected = [MARK + value for value in sent.get(key or b"", [])]
        if found[key] == expected:
            continue
        counted = Counter(found[key])
        counted.subtract(expected)
        wrong = [f"{value!r} of {key!r} {times:+}" for value, times in counted.items() if times]
        violations += wrong or [f"{key!r} is out of order"]
    return violations
