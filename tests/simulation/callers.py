"""Tasks that hand records over by every verb, patiently or not, and note what they are told."""

from __future__ import annotations

from itertools import takewhile
from random import Random
from typing import TYPE_CHECKING, Any

import anyio

from krafka import KafkaError, ProducerRecord
from krafka.errors import ProducerClosedError, RecordValidationError

from .record import Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from .plan import CallerPlan
    from .world import World

FILLER = bytes(range(32, 127)) * 600
PAUSE_WHEN_FULL = 0.005
TRIES_WHEN_FULL = 40
NO_SUCH_PARTITION = 99
PATIENCE_WITH_THE_AWAY = 4


class Caller:
    """One task and its records."""

    def __init__(self, world: World, plan: CallerPlan) -> None:
        self._world = world
        self._plan = plan
        self._random = Random(f"{world.plan.seed} {plan.number}")
        self._count = 0
        self._goes_on = True
        self._failures = 0

    async def run(self) -> None:
        """Take every step, or stop when the producer takes nothing more."""
        for _ in range(self._plan.steps):
            if not self._goes_on:
                return
            verb = self._random.choice(self._plan.verbs)
            act: Callable[[], Awaitable[None]] = getattr(self, f"_{verb}")
            await act()
            await anyio.sleep(self._plan.pause * self._random.random() * 2)

    def _new(self, verb: str, *, plain: bool = False, topic: str | None = None) -> Record:
        """The next record; a `plain` one has nothing but a value."""
        random = self._random
        where = random.choice(self._world.plan.topics)
        self._count += 1
        name = b"%d.%d " % (self._plan.number, self._count)
        style = 1.0 if plain else random.random()
        record = Record(
            caller=self._plan.number,
            index=self._count,
            topic=topic or where.name,
            value=name + FILLER[: int(self._plan.largest * random.random() ** 2)],
            key=b"key %d" % random.randrange(9) if style < 0.4 else None,
            partition=random.randrange(where.partitions) if 0.4 <= style < 0.7 else None,
            timestamp=1_700_000_000_000 + random.randrange(9999) if style < 0.1 else None,
            headers=(("h", b"1"), ("h", None)) if 0.1 <= style < 0.15 else (),
            verb=verb,
            called_at=anyio.current_time(),
        )
        if 0.69 < style < 0.7:
            record.partition = NO_SUCH_PARTITION
        self._world.add(record)
        return record

    def _arguments(self, record: Record) -> dict[str, Any]:
        return {
            "key": record.key,
            "partition": record.partition,
            "timestamp": record.timestamp,
            "headers": record.headers or None,
        }

    def _burst(self) -> Iterator[int]:
        return takewhile(lambda _: self._goes_on, range(self._plan.burst))

    # -- patient --------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        for _ in self._burst():
            await self._send_one(self._new("send"))

    async def _send_one(self, record: Record) -> None:
        try:
            metadata = await self._world.producer.send(record.topic, record.value, **self._arguments(record))
        except KafkaError as error:
            self._failed(record, error)
        else:
            self._world.acknowledged(record, metadata)

    async def _enqueue(self) -> None:
        for _ in self._burst():
            await self._enqueue_one(self._new("enqueue"))

    async def _enqueue_one(self, record: Record) -> None:
        try:
            delivery = await self._world.producer.enqueue(
                record.topic, record.value, **self._arguments(record)
            )
        except KafkaError as error:
            self._failed(record, error, refused=True)
        else:
            self._world.accepted(record, delivery)

    async def _nowait(self) -> None:
        for _ in self._burst():
            record = self._new("nowait")
            for tries_left in reversed(range(TRIES_WHEN_FULL)):
                record.called_at = anyio.current_time()
                try:
                    delivery = self._world.producer.enqueue_nowait(
                        record.topic, record.value, **self._arguments(record)
                    )
                except anyio.WouldBlock as error:
                    refusal: Any = error
                except KafkaError as error:
                    self._failed(record, error, refused=True)
                    break
                else:
                    self._world.accepted(record, delivery)
                    break
                if not (await self._make_room(record.topic) and tries_left):
                    record.called_at = anyio.current_time()
                    self._failed(record, refusal, refused=True)
                    break

    async def _make_room(self, topic: str) -> bool:
        """Wait a little, or for the topic; False if there is no hope."""
        if self._random.random() < 0.3:
            try:
                await self._world.producer.partitions_for(topic)
            except KafkaError as error:
                self._world.note("partitions_for", repr(error))
                return False
        await anyio.sleep(PAUSE_WHEN_FULL)
        return True

    async def _flush(self) -> None:
        await self._world.flush()

    # -- bulk -----------------------------------------------------------------------------------------------------

    async def _many(self) -> None:
        await self._send_many([])

    async def _send_many(self, pulled: list[Record]) -> None:
        producer = self._world.producer
        kind = self._random.choice(["values", "list", "records", "async"])
        count = self._plan.burst * self._random.randint(1, 3)
        topic = self._random.choice(self._world.plan.topics).name
        asked: tuple[Any, ...]
        if kind == "list":
            pulled += [self._new("many", plain=True, topic=topic) for _ in range(count)]
            asked = (topic, [record.value for record in pulled])
        elif kind == "values":
            asked = (topic, self._values(pulled, count, topic))
        elif kind == "records":
            asked = (self._records(pulled, count),)
        else:
            asked = (self._trickle(pulled, count),)
        try:
            result = await producer.send_many(*asked)
        except KafkaError as error:
            for record in pulled:
                self._failed(record, error, refused=True)
            self._world.check(kind == "list" or not pulled, "bulk", f"{error!r} after records were taken")
            self._goes_on = False
            return
        self._world.check(
            len(result) == len(pulled), "bulk", f"{len(result)} outcomes for {len(pulled)} records"
        )
        errors = dict(result.failed)
        for index, record in enumerate(pulled):
            if index in errors:
                self._failed(record, errors[index])
            else:
                self._world.acknowledged(record, result[index])

    def _values(self, pulled: list[Record], count: int, topic: str) -> Iterator[bytes]:
        for _ in range(count):
            pulled.append(self._new("many", plain=True, topic=topic))
            yield pulled[-1].value

    def _records(self, pulled: list[Record], count: int) -> Iterator[ProducerRecord]:
        for _ in range(count):
            pulled.append(self._new("many"))
            yield self._producer_record(pulled[-1])

    async def _trickle(self, pulled: list[Record], count: int) -> AsyncIterator[ProducerRecord]:
        for _ in range(count):
            await anyio.sleep(self._plan.pause * self._random.random())
            pulled.append(self._new("many"))
            yield self._producer_record(pulled[-1])

    def _producer_record(self, record: Record) -> ProducerRecord:
        return ProducerRecord(record.topic, record.value, **self._arguments(record))

    # -- impatient ------------------------------------------------------------------------------------------------

    async def _impatient_send(self) -> None:
        record = self._new("send")
        with anyio.move_on_after(self._patience()):
            await self._send_one(record)
        self._abandoned([record], "send")

    async def _impatient_enqueue(self) -> None:
        record = self._new("enqueue")
        with anyio.move_on_after(self._patience()):
            await self._enqueue_one(record)
        self._abandoned([record], "enqueue")

    async def _impatient_many(self) -> None:
        pulled: list[Record] = []
        with anyio.move_on_after(self._patience()):
            await self._send_many(pulled)
        self._abandoned(pulled, "send_many")

    def _patience(self) -> float:
        return self._random.choice([0.0, 0.001, 0.02, 0.5, 3.0]) * self._random.random()

    def _abandoned(self, records: list[Record], verb: str) -> None:
        for record in records:
            if record.delivery is None and record.outcomes == 0:
                record.was_abandoned = True
                # Cancelled in `enqueue`, it never came into the producer's hands; in the others it may have.
                record.was_refused = verb == "enqueue"
                self._world.note("abandoned", record.name)

    def _failed(self, record: Record, error: KafkaError, *, refused: bool = False) -> None:
        self._world.failed(record, error, refused=refused)
        self._failures += not isinstance(error, RecordValidationError)
        if self._world.weather.is_away and self._failures > PATIENCE_WITH_THE_AWAY:
            self._goes_on = False
        if isinstance(error, ProducerClosedError) or (
            self._world.engine.failure is not None and not isinstance(error, RecordValidationError)
        ):
            self._goes_on = False
