"""What one benchmark process has to send, as the runner tells it on the command line."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

DISTINCT_VALUES = 1000


@dataclass(frozen=True, slots=True)
class Workload:
    """One run of one client. `records` are measured, after `warmup` records that are not."""

    mode: str
    """"enqueue", "awaited", "send_many", "one" or "tasks"; see `benchmarks.catalogue`."""
    variant: str
    """The event loop, for clients that have one: "asyncio", "uvloop", "trio"."""
    bootstrap: str
    topic: str
    partitions: int
    records: int
    warmup: int
    tasks: int
    """How many tasks send at once in mode "tasks"; each sends `records // tasks`."""
    values_file: str
    value_size: int
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

    def values(self) -> list[bytes]:
        """The distinct values, the same for every client."""
        data = Path(self.values_file).read_bytes()
        return [data[at : at + self.value_size] for at in range(0, len(data), self.value_size)]

    def repeated(self, count: int) -> list[bytes]:
        """`count` values, over and over the same distinct ones: a list, so that taking one costs next to nothing."""
        return list(islice(cycle(self.values()), count))


def write_values(path: Path, size: int) -> None:
    """Write the distinct values: JSON-like text, so that codecs have something to do."""
    chooser = random.Random(1)  # noqa: S311 - the same values in every run, not secrets
    fields = [b'"user":%d,' % chooser.randrange(10**6) for _ in range(1000)]
    with path.open("wb") as file:
        for number in range(DISTINCT_VALUES):
            value = b'{"id":%d,' % number
            while len(value) < size:
                value += chooser.choice(fields)
            file.write(value[:size])
