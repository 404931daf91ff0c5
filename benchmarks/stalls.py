"""How long krafka keeps its event loop from everybody else while it compresses as fast as it can.

python -m benchmarks.stalls [--seconds 3] [--backend asyncio|trio]

A task that does nothing but yield notes the CPU time of the thread from one of its turns to the next: what everybody
else, krafka above all, did in between. CPU time, because a busy machine takes the processor away without asking krafka.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

import krafka
from benchmarks.broker import Topics, brokers
from benchmarks.workload import write_values

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

TOPIC = "stalls"
PARTITIONS = 6
VALUE_BYTES = 1024
CALLS_BETWEEN_YIELDS = 100
CODECS: tuple[tuple[str, int | None], ...] = (
    ("none", None),
    ("snappy", None),
    ("lz4", None),
    ("lz4", 9),
    ("zstd", None),
    ("zstd", 9),
    ("zstd", 19),
    ("gzip", 1),
    ("gzip", None),
    ("gzip", 9),
)


class Turns:
    """The CPU time between one turn of a task and the next, in milliseconds."""

    def __init__(self) -> None:
        self.took: list[float] = []

    async def watch(self, *, task_status: TaskStatus[None]) -> None:
        """Yield for ever."""
        task_status.started()
        while True:
            before = time.thread_time()
            await checkpoint()
            self.took.append((time.thread_time() - before) * 1000)

    def percentile(self, share: float) -> float:
        """What this share of the turns did not exceed."""
        return sorted(self.took)[min(int(len(self.took) * share), len(self.took) - 1)]


async def measure(bootstrap: str, codec: str, level: int | None, values: list[bytes], seconds: float) -> str:
    """One row: records per second, and the percentiles of the turns."""
    turns = Turns()
    sent = 0
    async with (
        krafka.Producer(
            bootstrap, compression=krafka.Compression(codec), compression_level=level, linger=0.005
        ) as producer,
        anyio.create_task_group() as task_group,
    ):
        await producer.send(TOPIC, values[0])
        await task_group.start(turns.watch)
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for value in values[:CALLS_BETWEEN_YIELDS]:
                await producer.enqueue(TOPIC, value)
                sent += 1
            await checkpoint()
        await producer.flush()
        took = time.perf_counter() - began
        task_group.cancel_scope.cancel()
    figures = " | ".join(f"{turns.percentile(share):.2f}" for share in (0.99, 0.999, 1.0))
    name = codec if level is None else f"{codec}, level {level}"
    return f"| {name} | {sent / took:,.0f} | {figures} |"


def main() -> int:
    """Start a broker, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stalls", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each codec")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    arguments = parser.parse_args()
    with NamedTemporaryFile() as file:
        write_values(Path(file.name), VALUE_BYTES)
        data = Path(file.name).read_bytes()
    values = [data[at : at + VALUE_BYTES] for at in range(0, len(data), VALUE_BYTES)]
    random.Random(1).shuffle(values)  # noqa: S311 - an order, no secret
    print("| codec | records/s | 99 % of turns, ms | 99.9 % | longest |")
    print("| --- | ---: | ---: | ---: | ---: |")
    with brokers(1, tls=False) as kafka:
        for codec, level in CODECS:
            with Topics(kafka.bootstrap).fresh([TOPIC], PARTITIONS, short_memory=True):
                print(
                    anyio.run(
                        measure,
                        kafka.bootstrap,
                        codec,
                        level,
                        values,
                        arguments.seconds,
                        backend=arguments.backend,
                    ),
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
