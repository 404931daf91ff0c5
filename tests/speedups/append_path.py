"""An append path without a producer around it: what it calls is noted, and time stands still if one likes."""

from __future__ import annotations

from typing import Any

from krafka._speedups.append import Appender
from krafka._speedups.batch import PartitionBuffer, ProducerBatch
from krafka._speedups.topic_buffer import TopicBuffer
from krafka.partitioners import rule_of

TOPIC = "orders"
ENDLESS = 2**62
WALL_CLOCK = 1_700_000_000_000


class AppendPath:
    """An `Appender` with one topic, and the notes of what it called."""

    def __init__(
        self,
        *,
        partitions: int = 1,
        batch_size: int = 4096,
        buffer_memory: int = 1 << 20,
        max_request_size: int = 1 << 20,
        delivery_timeout: float = 120.0,
        batch_span: float = 1e9,
        partitioner: Any = None,
        loads: Any = None,
        seed: int = 0,
        stopped: bool = True,
    ) -> None:
        self.now = 100.0
        self.wall = WALL_CLOCK
        self.opened: list[ProducerBatch] = []
        self.sealed: list[PartitionBuffer] = []
        self.hastened: list[ProducerBatch] = []
        self.appender = Appender(
            batch_size=batch_size,
            buffer_memory=buffer_memory,
            max_request_size=max_request_size,
            delivery_timeout=delivery_timeout,
            batch_span=batch_span,
            monotonic=lambda: self.now,
            on_opened=self.opened.append,
            on_sealed=self.sealed.append,
            on_hastened=self.hastened.append,
            wall_clock=(lambda: self.wall) if stopped else None,
        )
        self.partitions = [PartitionBuffer(TOPIC, number) for number in range(partitions)]
        self.topic: TopicBuffer[PartitionBuffer] = TopicBuffer(
            TOPIC, rule_of(partitioner) or partitioner, loads=loads, seed=seed
        )
        self.topic.set_partitions(self.partitions, self.partitions)
        self.appender.topics[TOPIC] = self.topic
        self.append = self.appender.append

    @property
    def partition(self) -> PartitionBuffer:
        """The first partition."""
        return self.partitions[0]

    def take_all(self) -> list[ProducerBatch]:
        """Every batch, the open ones included, in the order of the partitions."""
        batches: list[ProducerBatch] = []
        for partition in self.partitions:
            while partition.pending:
                batches.append(partition.pending.popleft())
            last = partition.take_open()
            if last is not None:
                batches.append(last)
        return batches

    def finish(self, batch: ProducerBatch, base_offset: int = 0) -> None:
        """Acknowledge a batch and give its memory back."""
        batch.complete(base_offset, -1)
        self.appender.available += batch.charge
