"""Records at a steady rate to a broker that wants to hear every few seconds who sends them.

    python tests/auth/renewal_load.py [SESSION_MS [SECONDS [RECORDS [BACKEND]]]]

prints how often connections logged in, and how long records took; SESSION_MS 0 is a broker without that limit.
"""

from __future__ import annotations

import logging
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from secured import every_auth, secured

from krafka import Producer

if TYPE_CHECKING:
    from krafka.testing import KafkaCluster

TOPIC = "renewed"
TICK = 0.01


class Renewals(logging.Handler):
    """Counts connections that logged in again, by what the log says at DEBUG."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0
        self.connected = 0

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        self.count += text.startswith("authenticated again")
        self.connected += text.startswith("connected to")


@dataclass
class Load:
    """What became of the records."""

    sent: int = 0
    latencies: list[float] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    renewals: int = 0
    connections: int = 0

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def load(kafka: KafkaCluster, auth: Any, *, seconds: float, records: int) -> Load:
    """Send so many records in so many seconds, evenly, and wait for the outcome of each."""
    done = Load()
    handler = Renewals()
    loggers = [logging.getLogger(f"krafka._io.{name}") for name in ("authentication", "connection")]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        async with (
            Producer(kafka.bootstrap_of("SASL_PLAINTEXT"), auth=auth) as producer,
            anyio.create_task_group() as tasks,
        ):
            await producer.send(TOPIC, b"first")
            begun = anyio.current_time()

            async def wait(delivery: Any, sent_at: float) -> None:
                try:
                    await delivery
                except Exception as error:
                    done.failures.append(error)
                else:
                    done.latencies.append(anyio.current_time() - sent_at)

            while done.sent < records:
                due = min(records, int((anyio.current_time() - begun) / seconds * records) + 1)
                while done.sent < due:
                    sent_at = anyio.current_time()
                    delivery = await producer.enqueue(TOPIC, b"%d" % done.sent, key=b"%d" % (done.sent % 6))
                    # One of a handful tells how long it took; the flush at the end sees to all.
                    if done.sent % 5 == 0:
                        tasks.start_soon(wait, delivery, sent_at)
                    done.sent += 1
                await anyio.sleep(TICK)
            await producer.flush()
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)
    done.renewals, done.connections = handler.count, handler.connected
    return done


async def main(session_ms: int = 5000, seconds: float = 30, records: int = 100_000) -> None:
    """Start a broker, send, and print."""
    async with secured(connections_max_reauth_ms=str(session_ms)) as kafka:
        await kafka.create_topic(TOPIC, partitions=6)
        done = await load(kafka, every_auth()["scram-256"], seconds=seconds, records=records)
        there = {each.value for each in await kafka.read(TOPIC)}
    missing = sum(b"%d" % number not in there for number in range(done.sent))
    print(
        f"session {session_ms} ms: {done.sent} records in {seconds:g} s, "
        f"{missing} missing, {len(done.failures)} failed, "
        f"{done.connections} connections, {done.renewals} renewals, p50 {done.quantile(0.5) * 1000:.2f} ms, "
        f"p99 {done.quantile(0.99) * 1000:.2f} ms, p99.9 {done.quantile(0.999) * 1000:.2f} ms, "
        f"max {done.quantile(1) * 1000:.2f} ms"
    )


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:4]]
    anyio.run(main, *numbers, backend=sys.argv[4] if len(sys.argv) > 4 else "asyncio")
