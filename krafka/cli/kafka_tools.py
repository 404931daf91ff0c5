"""What Kafka's own command-line tools say about a topic; no code of krafka's producer takes part."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import anyio
import anyio.to_thread

from krafka.cli.readers import LineSplitter, TooLong
from krafka.testing import KafkaClusterError
from krafka.testing._distribution import load_distribution
from krafka.testing._startup import SMALL_JVM, archive_options, java_command, run_tool

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from krafka.testing._distribution import KafkaDistribution

OFFSETS_CLASS = "org.apache.kafka.tools.GetOffsetShell"
CONSUMER_CLASS = "org.apache.kafka.tools.consumer.ConsoleConsumer"
DUMP_CLASSES = ("org.apache.kafka.tools.DumpLogSegments", "kafka.tools.DumpLogSegments")
# How long the consumer waits for a record that does not come before it gives up.
CONSUMER_PATIENCE = 20.0
LARGEST_LINE = 16 * 1024 * 1024

_BATCH = re.compile(r"^baseOffset: \d+ .*\bcount: (\d+) .*\bsize: (\d+) ", re.MULTILINE)


class ReadRecord(NamedTuple):
    """A record as the console consumer printed it."""

    partition: int
    offset: int
    key: bytes
    value: bytes


class StoredBatches(NamedTuple):
    """What lies in log files: how many batches, of how many records, in how many bytes."""

    batches: int
    records: int
    size: int


async def end_offsets(bootstrap: str, topic: str) -> dict[int, int]:
    """Each partition's end offset by Kafka's GetOffsetShell. Raises KafkaClusterError."""
    arguments = ["--bootstrap-server", bootstrap, "--topic", topic]
    output = await _run(OFFSETS_CLASS, arguments)
    offsets: dict[int, int] = {}
    for line in output.splitlines():
        name, _, rest = line.rpartition(":")[0].rpartition(":")
        if name == topic:
            offsets[int(rest)] = int(line.rpartition(":")[2])
    if not offsets:
        raise KafkaClusterError(f"Kafka's {OFFSETS_CLASS} named no partition of {topic!r}:\n{output}")
    return dict(sorted(offsets.items()))


async def stored_batches(segments: Sequence[Path]) -> StoredBatches:
    """Count the batches in log files by Kafka's DumpLogSegments. Raises KafkaClusterError."""
    distribution = await anyio.to_thread.run_sync(load_distribution)
    output = await _run(distribution.find_class(DUMP_CLASSES), ["--files", ",".join(map(str, segments))])
    found = [(int(count), int(size)) for count, size in _BATCH.findall(output)]
    return StoredBatches(len(found), sum(count for count, _ in found), sum(size for _, size in found))


async def read_topic(bootstrap: str, topic: str, count: int) -> AsyncGenerator[ReadRecord]:
    """The first `count` records of a topic, by Kafka's ConsoleConsumer, while it prints them.

    Keys and values must be free of newlines, keys of tabs. Ends early where the consumer finds fewer.
    """
    distribution = await anyio.to_thread.run_sync(load_distribution)
    printed = [f"print.{part}=true" for part in ("partition", "offset", "key")]
    arguments = [
        *("--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"),
        *("--max-messages", str(count), "--timeout-ms", str(int(CONSUMER_PATIENCE * 1000))),
        *(argument for name in printed for argument in ("--formatter-property", name)),
    ]
    command = _command(distribution, CONSUMER_CLASS, arguments)
    process = await anyio.open_process(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    async with process:
        assert process.stdout is not None  # noqa: S101  # open_process makes a pipe unless told otherwise
        splitter = LineSplitter(LARGEST_LINE)
        async for chunk in process.stdout:
            for line in splitter.feed(chunk)[1]:
                yield _read_record(line)


def _read_record(line: bytes | TooLong) -> ReadRecord:
    if isinstance(line, TooLong):
        raise KafkaClusterError(f"Kafka's {CONSUMER_CLASS} printed a line of {line.size} bytes")
    parts = line.split(b"\t", 3)
    partition, offset = parts[0].removeprefix(b"Partition:"), parts[1].removeprefix(b"Offset:")
    if len(parts) != 4 or not (partition.isdigit() and offset.isdigit()):
        raise KafkaClusterError(f"Kafka's {CONSUMER_CLASS} printed what is no record: {line[:200]!r}")
    return ReadRecord(int(partition), int(offset), parts[2], parts[3])


async def _run(main_class: str, arguments: Sequence[str]) -> str:
    distribution = await anyio.to_thread.run_sync(load_distribution)
    return await anyio.to_thread.run_sync(run_tool, distribution, main_class, arguments)


def _command(distribution: KafkaDistribution, main_class: str, arguments: Sequence[str]) -> list[str]:
    return java_command(distribution, main_class, arguments, (*archive_options(distribution), *SMALL_JVM))
