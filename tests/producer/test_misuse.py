"""A producer used in ways it is not made for: told at once, by one error, at nobody else's expense."""

from __future__ import annotations

import os
import traceback
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
from faulty import TOPIC, error_of, faulty

from krafka import Producer, ProducerCrashedError
from krafka._io import engine
from krafka._state.sequences import Sequences
from krafka.errors import (
    KafkaError,
    ProducerClosedError,
    ProducerStateError,
    RecordTooLargeError,
    RecordValidationError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.anyio

NO_TOPICS: list[Any] = [5, b"orders", None, ["orders"], "", "a b", "\ud800", "x" * 250, "x" * 40_000]


class Third(IntEnum):
    PARTITION = 2


def released() -> memoryview:
    view = memoryview(b"v")
    view.release()
    return view


@pytest.mark.parametrize("topic", NO_TOPICS, ids=lambda topic: repr(topic)[:12])
async def test_asking_about_what_is_no_topic(topic: Any) -> None:
    async with faulty() as (cluster, producer):
        asked = cluster.requests["Metadata"]
        with pytest.raises(RecordValidationError, match="topic"):
            await producer.partitions_for(topic)
        assert cluster.requests["Metadata"] == asked
        cluster.create_topic("another", 2)
        assert len(await producer.partitions_for("another")) == 2


async def test_a_delivery_is_not_awaited_in_another_thread() -> None:
    async with faulty(linger=0.2) as (_, producer):
        delivery = await producer.enqueue(TOPIC, b"v")

        async def wait() -> None:
            await delivery

        with pytest.raises(ProducerStateError, match="thread"):
            await anyio.to_thread.run_sync(anyio.run, wait)
        assert (await delivery).offset == 0

        async def outcome() -> int:
            return (await delivery).offset

        # What is known waits for nobody.
        assert await anyio.to_thread.run_sync(anyio.run, outcome) == 0


@pytest.mark.parametrize("verb", ["send", "enqueue"])
async def test_a_verb_is_not_called_in_another_thread(verb: str) -> None:
    async with faulty() as (_, producer):
        await producer.send(TOPIC, b"v")

        async def call() -> None:
            await getattr(producer, verb)(TOPIC, b"w")

        for backend in ("asyncio", "trio"):
            with pytest.raises(ProducerStateError, match="thread"):
                await anyio.to_thread.run_sync(partial(anyio.run, call, backend=backend))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
async def test_a_forked_child_can_neither_append_nor_wait() -> None:
    async with faulty(linger=0.2) as (_, producer):
        delivery = await producer.enqueue(TOPIC, b"v")
        child = os.fork()
        if child == 0:
            os._exit(
                _refusals(lambda: producer.enqueue_nowait(TOPIC, b"w"), lambda: next(delivery.__await__()))
            )
        _, status = await anyio.to_thread.run_sync(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 2
        assert (await delivery).offset == 0
        assert (await producer.send(TOPIC, b"x")).offset == 1


def _refusals(*attempts: Callable[[], object]) -> int:
    refused = 0
    for attempt in attempts:
        try:
            attempt()
        except ProducerStateError as error:
            refused += "process" in str(error)
    return refused


async def test_a_value_that_cannot_be_read_fails_alone() -> None:
    class Odd(dict[str, bytes]):
        def items(self) -> Any:
            raise ZeroDivisionError("odd")

    async with faulty() as (cluster, producer):
        with pytest.raises(RecordValidationError, match="released"):
            await producer.send(TOPIC, released())
        with pytest.raises(RecordValidationError, match="ZeroDivisionError: odd"):
            await producer.send(TOPIC, b"v", headers=Odd(a=b""))
        result = await producer.send_many(TOPIC, [b"0", released(), b"2"])
        assert [index for index, _ in result.failed] == [1]
        assert [record.value for record in cluster.log(TOPIC)] == [b"0", b"2"]


async def test_a_partition_may_be_any_int() -> None:
    async with faulty(partitions=3) as (_, producer):
        assert (await producer.send(TOPIC, b"v", partition=Third.PARTITION)).partition == 2
        for wrong in (True, 1.0, "1", -1):
            with pytest.raises(RecordValidationError, match="partition"):
                await producer.send(TOPIC, b"v", partition=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"value": bytes(1_100_000)}, RecordTooLargeError),
        ({"value": b"v", "partition": 55}, RecordValidationError),
    ],
    ids=["too-large", "no-such-partition"],
)
async def test_a_wrong_first_record_is_one_error(fields: dict[str, Any], kind: type[KafkaError]) -> None:
    async with faulty(ready=False) as (_, producer):
        with pytest.raises(kind) as caught:
            await producer.send(TOPIC, **fields)
        with pytest.raises(kind) as caught_too:
            await producer.enqueue(TOPIC, **fields)
    for each in (caught, caught_too):
        told = "".join(traceback.format_exception(each.value))
        assert "another exception" not in told


async def test_bulk_values_that_are_one_value() -> None:
    async with faulty() as (cluster, producer):
        for values in ("abc", b"abc", bytearray(b"abc"), memoryview(b"abc"), None):
            with pytest.raises(TypeError, match="iterable of values"):
                await producer.send_many(TOPIC, values)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="records alone"):
            await producer.send_many([], [b"v"])  # type: ignore[call-overload]
    assert cluster.log(TOPIC) == []


async def test_what_comes_after_the_end_is_told_that_it_is_over() -> None:
    async with faulty() as (_, producer):
        await producer.send(TOPIC, b"v")
        await producer.close()
        for verb in (producer.send, producer.enqueue):
            with pytest.raises(ProducerClosedError, match="is closed; make a new one"):
                await verb(TOPIC, b"w")
        with pytest.raises(ProducerClosedError, match="is closed; make a new one"):
            producer.enqueue_nowait(TOPIC, b"w")


async def test_a_bug_in_taking_an_answer_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*_: Any) -> None:
        raise ZeroDivisionError("a bug")

    deliveries = []
    monkeypatch.setattr(engine, "Sequences", type("Buggy", (Sequences,), {"acknowledged": buggy}))
    with anyio.fail_after(30), pytest.raises(ProducerCrashedError) as caught:
        async with faulty(partitions=6, linger=0.1) as (_, producer):
            deliveries = [await producer.enqueue(TOPIC, b"v", partition=number) for number in range(6)]
            await producer.close(timeout=20)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert all(delivery.done for delivery in deliveries)
    for delivery in deliveries:
        assert isinstance(await error_of(delivery), ProducerCrashedError)


async def test_a_connector_that_is_none() -> None:
    with pytest.raises(ValueError, match="connector must have a method connect"):
        Producer("localhost:9092", connector=5)  # type: ignore[arg-type]
