"""What one benchmark process has to send, as the runner tells it on the command line."""

from __future__ import annotations

import json
import random
import ssl
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

DISTINCT = 1000
LARGEST_FILE = 10 * 1024 * 1024
"""Bytes: distinct values should not be what a client's memory consists of."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One run of one client. `records` are measured, after `warmup` records that are not."""

    mode: str
    """One of `benchmarks.scenarios.MODES`."""
    variant: str
    """The event loop, for clients that have one: "asyncio", "uvloop", "trio"."""
    bootstrap: str
    ca_file: str
    """The authority of the brokers' certificates; "" for plain TCP."""
    topics: list[str]
    """All of them are sent to in mode "idle", the first alone in the others."""
    partitions: int
    records: int
    warmup: int
    tasks: int
    """How many tasks send at once in mode "tasks"; each sends `records // tasks`."""
    chunk: int
    """How many records make a transaction, or a chunk without one; `records` and `warmup` are multiples of it."""
    seconds: float
    """How long modes "sustained" and "idle" take."""
    values_file: str
    value_size: int
    headers: list[list[str]]
    """Names and values, on every record, which then has a key too; or none."""
    compression: str
    batch_size: int
    linger: float

    @classmethod
    def from_json(cls, text: str) -> Workload:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))

    def to_json(self) -> str:
        """Write the workload as one line."""
        return json.dumps(asdict(self))

    @property
    def topic(self) -> str:
        """The topic, in modes that send to one."""
        return self.topics[0]

    def values(self) -> list[bytes]:
        """The distinct values, the same for every client."""
        data = Path(self.values_file).read_bytes()
        return [data[at : at + self.value_size] for at in range(0, len(data), self.value_size)]

    def repeated(self, count: int) -> list[bytes]:
        """`count` values, over and over the same distinct ones: a list, so that taking one costs next to nothing."""
        return list(islice(cycle(self.values()), count))

    def keys(self, count: int) -> list[bytes]:
        """`count` keys, over and over the same distinct ones; none where records have no headers."""
        if not self.headers:
            return []
        return list(islice(cycle([b"key-%d" % number for number in range(DISTINCT)]), count))

    def header_pairs(self) -> list[tuple[str, bytes]]:
        """The headers as Python clients take them."""
        return [(name, value.encode()) for name, value in self.headers]

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS that trusts the brokers' authority, or None for plain TCP."""
        return ssl.create_default_context(cafile=self.ca_file) if self.ca_file else None


def write_values(path: Path, size: int) -> None:
    """Write the distinct values: JSON-like text, so that codecs have something to do."""
    chooser = random.Random(1)  # noqa: S311 - the same values in every run, not secrets
    fields = [b'"user":%d,' % chooser.randrange(10**6) for _ in range(1000)]
    with path.open("wb") as file:
        for number in range(min(DISTINCT, LARGEST_FILE // size + 1)):
            value = bytearray(b'{"id":%d,' % number)
            while len(value) < size:
                value += chooser.choice(fields)
            file.write(value[:size])
