"""Numbered records from several tasks, by every verb of the producer, and what their callers were told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from krafka import KafkaError

from .invariants import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from krafka import Delivery, Producer

BULK = 800
BURST = 500
FILLER = bytes(range(32, 127)) * 12


class Workload:
    """Sends at least `records` records to `topic` at about `rate` a second, and on until `finish()`.

    Three callers enqueue, by partition, by key and by neither; one sends many at a time; one awaits each record.
    Every value is different and begins with its caller and number; the rest is as long as `random` says.
    """

    def __init__(
        self, producer: Producer, topic: str, *, partitions: int, records: int, rate: float, random: Random
    ) -> None:
        self.outcomes: list[Outcome] = []
        self.sent = 0
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._records = records
        self._rate = rate
        self._random = random
        self._pending: list[tuple[Outcome, Delivery]] = []
        self._finished = anyio.Event()
        self._numbers: dict[int, int] = {}

    def finish(self) -> None:
        """Send no more than the number of records that was asked for."""
        self._finished.set()

    async def run(self) -> None:
        """Send everything, and return when each record has its outcome."""
        self._began = anyio.current_time()
        async with anyio.create_task_group() as callers:
            callers.start_soon(self._enqueue, 0, self._by_partition)
            callers.start_soon(self._enqueue, 1, self._by_key)
            callers.start_soon(self._enqueue, 2, self._by_nothing)
            callers.start_soon(self._send_many, 3)
            callers.start_soon(self._send_each, 4)
        await self._producer.flush()
        self._collect()

    def _collect(self) -> None:
        for record, delivery in self._pending:
            assert delivery.done, f"no outcome after a flush: {record.value!r}"
            self._note(record, delivery)
        self._pending.clear()

    # -- callers --------------------------------------------------------------------------------------------------

    async def _enqueue(
        self, caller: int, where: Callable[[Outcome], tuple[bytes | None, int | None]]
    ) -> None:
        while self._goes_on():
            for _ in range(self._random.randrange(1, BURST)):
                blank = self._next(caller)
                key, partition = where(blank)
                record = Outcome(blank.value, key, partition, caller, blank.index)
                try:
                    delivery = await self._producer.enqueue(
                        self._topic, record.value, key=key, partition=partition
                    )
                except KafkaError as error:
                    self.outcomes.append(_ended(record, record.partition, error=error))
                else:
                    self._pending.append((record, delivery))
            await self._keep_pace()

    def _by_partition(self, record: Outcome) -> tuple[bytes | None, int | None]:
        return None, self._random.randrange(self._partitions)

    def _by_key(self, record: Outcome) -> tuple[bytes | None, int | None]:
        return b"key %d" % self._random.randrange(100), None

    def _by_nothing(self, record: Outcome) -> tuple[bytes | None, int | None]:
        return None, None

    async def _send_many(self, caller: int) -> None:
        while self._goes_on():
            records = [self._next(caller) for _ in range(self._random.randrange(1, BULK))]
            result = await self._producer.send_many(self._topic, [record.value for record in records])
            errors = dict(result.failed)
            for index, record in enumerate(records):
                if index in errors:
                    self.outcomes.append(_ended(record, None, error=errors[index]))
                else:
                    metadata = result[index]
                    self.outcomes.append(
                        Outcome(record.value, None, metadata.partition, caller, record.index, metadata)
                    )
            await self._keep_pace()

    async def _send_each(self, caller: int) -> None:
        while self._goes_on():
            record = self._next(caller)
            try:
                metadata = await self._producer.send(self._topic, record.value)
            except KafkaError as error:
                self.outcomes.append(_ended(record, None, error=error))
            else:
                self.outcomes.append(
                    Outcome(record.value, None, metadata.partition, caller, record.index, metadata)
                )
            await self._keep_pace()

    # -- parts ----------------------------------------------------------------------------------------------------

    def _next(self, caller: int) -> Outcome:
        number = self._numbers[caller] = self._numbers.get(caller, 0) + 1
        self.sent += 1
        filler = FILLER[: int(10 ** self._random.uniform(0, 3))]
        return Outcome(b"%d %d %b" % (caller, number, filler), None, None, caller, number)

    def _note(self, record: Outcome, delivery: Delivery) -> None:
        metadata, error = delivery.metadata, delivery.exception
        self.outcomes.append(
            Outcome(
                record.value, record.key, delivery.partition, record.caller, record.index, metadata, error
            )
        )

    def _goes_on(self) -> bool:
        return self.sent < self._records or not self._finished.is_set()

    async def _keep_pace(self) -> None:
        """Spread the records over the time that the faults take."""
        due = self._began + self.sent / self._rate
        await anyio.sleep(max(0.0, due - anyio.current_time()))


def _ended(record: Outcome, partition: int | None, *, error: KafkaError) -> Outcome:
    return Outcome(record.value, record.key, partition, record.caller, record.index, None, error)
