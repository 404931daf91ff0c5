"""The scenarios: variations of one base workload, and which modes and event loops take part in each."""

from __future__ import annotations

from dataclasses import dataclass, replace

MODES = {
    "enqueue": "one call a record, then flush; the log tells that all arrived",
    "awaited": "one call a record; the outcome of each taken from the client",
    "send_many": "records given in bulk; the outcome of each taken from the client",
    "one": "one record after the other, each awaited before the next",
    "tasks": "many tasks, each awaiting its own records one by one",
    "sustained": "one call a record for minutes; the memory looked at each second",
    "idle": "nothing to send",
    "transactions": "records in bulk, their outcomes taken, then a commit; one transaction after the other",
    "chunks": "the same without transactions: records in bulk, their outcomes taken, then the next ones",
}
THROUGHPUT = ("enqueue", "awaited", "send_many")
AWAITED = ("one", "tasks")
CHUNKED = ("transactions", "chunks")
EVENT_LOOPS = ("asyncio", "uvloop", "trio")
FEW_TASKS = 50
HEADERS = (("trace-id", "4bf92f3577b34da6a3ce929d0e0e4736"), ("source", "benchmarks"))
"""What each record carries besides a key, in scenarios with headers."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One workload. Every field that is left out is as in the base scenario."""

    name: str
    sentence: str
    """What is asked, in one sentence."""
    modes: tuple[str, ...] = THROUGHPUT
    """Which ways of sending take part; a client runs those it has."""
    loops: tuple[str, ...] = ("asyncio",)
    """Event loops of the clients that know several."""
    value_size: int = 100
    """Bytes."""
    headers: bool = False
    """Whether each record has a key and two headers, or a value alone."""
    compression: str = "none"
    topics: int = 1
    partitions: int = 6
    """Of each topic."""
    brokers: int = 1
    """How many there are, and how many replicas each partition has."""
    tls: bool = False
    linger: float = 0.005
    """Seconds, in modes that do not wait for each record."""
    awaited_linger: float = 0.0
    """Seconds, in modes that do."""
    records: int = 1_000_000
    """In a run that does not wait for each."""
    awaited_records: int = 3_000
    """In mode "one"."""
    tasks: int = 1_000
    task_records: int = 500
    """Of each task, in mode "tasks": so many that starting the tasks, 25 µs each, is next to nothing of it."""
    chunk: int = 1_000
    """Records of each transaction, and of each chunk without one."""
    seconds: float = 0.0
    """How long a run takes, in modes without a number of records: "sustained" and "idle"."""
    batch_sizes: tuple[int, ...] = (65536,)
    """Bytes; every row runs with each."""
    most_rounds: int | None = None
    """Runs that take minutes are not done as often as others."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What a client has to know for it, in the words of `catalogue.Client.lacks`."""
        asked = {
            "headers": self.headers,
            "compression": self.compression != "none",
            "TLS": self.tls,
            "several brokers": self.brokers > 1,
            "few tasks": "tasks" in self.modes and self.tasks < FEW_TASKS,
            "transactions": "transactions" in self.modes,
        }
        return tuple(word for word, is_asked in asked.items() if is_asked)

    def quick(self) -> Scenario:
        """The same as a smoke run: its figures mean nothing."""
        return replace(
            self,
            partitions=min(self.partitions, 60),
            topics=min(self.topics, 20),
            records=max(self.records // 50, 60),
            awaited_records=min(self.awaited_records, 200),
            tasks=min(self.tasks, 50),
            task_records=min(self.task_records, 10),
            chunk=min(self.chunk, 1_000),
            seconds=min(self.seconds, 1.0),
        )


ALL = (
    Scenario(
        "base",
        "values of 100 bytes, 6 partitions, idempotent, acks=all, linger 5 ms, or 0 where each record is awaited",
        modes=(*THROUGHPUT, *AWAITED),
        loops=EVENT_LOOPS,
    ),
    Scenario("value-10", "values of 10 bytes", value_size=10),
    Scenario("value-1k", "values of 1 KiB", (*THROUGHPUT, "one"), value_size=1024, records=200_000),
    Scenario("value-100k", "values of 100 KiB", (*THROUGHPUT, "one"), value_size=102_400, records=3_000),
    Scenario("headers", "a key and two headers on each record", headers=True, records=500_000),
    Scenario("lz4", "values of 1 KiB, lz4", value_size=1024, compression="lz4", records=200_000),
    Scenario("snappy", "values of 1 KiB, snappy", value_size=1024, compression="snappy", records=200_000),
    Scenario("zstd", "values of 1 KiB, zstd", value_size=1024, compression="zstd", records=200_000),
    Scenario("gzip", "values of 1 KiB, gzip", value_size=1024, compression="gzip", records=100_000),
    Scenario("partitions-1", "1 partition", partitions=1),
    Scenario("partitions-100", "100 partitions", partitions=100),
    Scenario("partitions-1000", "1,000 partitions", partitions=1_000, records=500_000),
    Scenario("linger-0", "linger 0 where records are not awaited, too", linger=0.0),
    Scenario(
        "linger-5",
        "linger 5 ms where each record is awaited, too",
        AWAITED,
        awaited_linger=0.005,
        awaited_records=300,
    ),
    Scenario("linger-50", "linger 50 ms", (*THROUGHPUT, "tasks"), linger=0.05, awaited_linger=0.05),
    Scenario("tasks-1", "1 task", ("tasks",), tasks=1, task_records=3_000),
    Scenario("tasks-100", "100 tasks", ("tasks",), tasks=100, task_records=2_000),
    Scenario("tls", "TLS", (*THROUGHPUT, *AWAITED), tls=True, records=500_000),
    Scenario(
        "replicated",
        "three brokers, each partition on all of them",
        (*THROUGHPUT, *AWAITED),
        brokers=3,
        records=500_000,
    ),
    Scenario(
        "transactions",
        "transactions of 1,000 records, one after the other",
        (*CHUNKED, "send_many"),
        EVENT_LOOPS,
        linger=0.0,
        records=300_000,
    ),
    Scenario(
        "transactions-10k",
        "transactions of 10,000 records",
        (*CHUNKED, "send_many"),
        linger=0.0,
        chunk=10_000,
    ),
    Scenario(
        "transactions-100k",
        "transactions of 100,000 records",
        (*CHUNKED, "send_many"),
        linger=0.0,
        chunk=100_000,
    ),
    Scenario(
        "idle",
        "30 seconds with nothing to send, 1,000 topics known",
        ("idle",),
        EVENT_LOOPS,
        topics=1_000,
        partitions=1,
        seconds=30.0,
        most_rounds=1,
    ),
    Scenario(
        "sustained",
        "five minutes as fast as records are taken",
        ("sustained",),
        EVENT_LOOPS,
        records=300_000,
        seconds=300.0,
        most_rounds=1,
    ),
)
BY_NAME = {scenario.name: scenario for scenario in ALL}
BASE = BY_NAME["base"]
