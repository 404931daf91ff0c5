"""Interceptors learn once what became of each record they saw, however it ended; and the producer ends after that."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from faulty import TOPIC, enqueue, error_of, faulty, numbered
from hooking import Notes

from krafka import (
    BufferTimeoutError,
    CloseTimeoutError,
    DeliveryTimeoutError,
    InvalidRecordError,
    MetadataTimeoutError,
    NotEnoughReplicasError,
    Producer,
    ProducerClosedError,
    ProducerCrashedError,
    ProducerInterceptor,
    ProducerRecord,
    RecordMetadata,
    RecordTooLargeError,
    RecordValidationError,
    SendCancelledError,
    TopicAuthorizationFailedError,
)
from krafka._io import engine
from krafka._state.sequences import Sequences

pytestmark = pytest.mark.anyio

NOWHERE = (TOPIC, -1, -1, -1)


class Slow(Notes):
    """Is awaited, and needs a moment for each record."""

    async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
        await anyio.sleep(0.001)
        super().on_acknowledgement(metadata, error)


class Stuck(Notes):
    """Is awaited, and never comes to an end."""

    async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
        super().on_acknowledgement(metadata, error)
        await anyio.sleep_forever()

    async def close(self) -> None:
        super().close()
        await anyio.sleep_forever()


class Gate(Notes):
    """Keeps records in `on_send` until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived = anyio.Event()
        self.opened = anyio.Event()

    async def on_send(self, record: ProducerRecord) -> None:
        super().on_send(record)
        self.arrived.set()
        await self.opened.wait()


class TestOutcomes:
    @pytest.mark.parametrize(
        ("record", "kind", "metadata"),
        [
            ({"value": 5}, RecordValidationError, NOWHERE),
            ({"value": "text", "partition": 3}, RecordValidationError, (TOPIC, 3, -1, -1)),
            ({"topic": "a b"}, RecordValidationError, ("a b", -1, -1, -1)),
            ({"topic": 5}, RecordValidationError, ("5", -1, -1, -1)),
            ({"headers": 5}, RecordValidationError, NOWHERE),
            ({"partition": 2**40}, RecordValidationError, NOWHERE),
            ({"partition": True}, RecordValidationError, NOWHERE),
            ({"partition": 55}, RecordValidationError, (TOPIC, 55, -1, -1)),
            ({"value": bytes(2_000_000)}, RecordTooLargeError, NOWHERE),
        ],
        ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
    )
    async def test_a_record_that_is_not_valid(self, record: Any, kind: Any, metadata: Any) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (_, producer):
            arguments = {"topic": TOPIC, "value": b"v", **record}
            for verb in (producer.send, producer.enqueue):
                with pytest.raises(kind) as caught:
                    await verb(**arguments)
            assert notes.told[1] == (metadata, caught.value)
            result = await producer.send_many([ProducerRecord(**arguments)])
            assert notes.told[2] == (metadata, result.failed[0][1])
            assert notes.errors == [kind] * 3
            assert len(notes.shown) == 3

    async def test_a_topic_that_is_a_kind_of_str(self) -> None:
        class Name(str):
            __slots__ = ()

        notes = Notes()
        async with faulty(interceptors=[notes]) as (_, producer):
            await producer.send(Name(TOPIC), b"v")
            with pytest.raises(RecordValidationError):
                await producer.send(Name(TOPIC), 5)
        assert [metadata.topic for metadata, _ in notes.told] == [TOPIC, TOPIC]

    async def test_no_metadata_and_no_room(self) -> None:
        notes = Notes()
        async with faulty(
            interceptors=[notes], max_block=0.3, buffer_memory=10_000, allow_auto_create_topics=False
        ) as (cluster, producer):
            with pytest.raises(MetadataTimeoutError):
                await producer.send("unknown", b"v")
            held = cluster.fail("Produce", hold=True)
            deliveries = await enqueue(producer, [bytes(9000)])
            with pytest.raises(BufferTimeoutError):
                await producer.send(TOPIC, bytes(9000), partition=0)
            result = await producer.send_many([ProducerRecord("unknown", b"v")] * 3)
            held.release()
            assert [await error_of(delivery) for delivery in deliveries] == [None]
        assert notes.errors == [MetadataTimeoutError, BufferTimeoutError] + [MetadataTimeoutError] * 3 + [
            None
        ]
        assert notes.told[1][0] == (TOPIC, 0, -1, -1)
        assert [error for _, error in notes.told[2:5]] == [error for _, error in result.failed]

    @pytest.mark.parametrize("times", [1, None])
    async def test_a_broker_refuses(self, times: int | None) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], retries=0) as (cluster, producer):
            cluster.fail("Produce", code=TopicAuthorizationFailedError, times=times)
            with pytest.raises(TopicAuthorizationFailedError):
                await producer.send(TOPIC, b"v")
        assert notes.errors == [TopicAuthorizationFailedError]
        assert notes.told[0][0] == (TOPIC, 0, -1, -1)

    async def test_a_deadline_passes(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], delivery_timeout=0.2) as (cluster, producer):
            cluster.fail("Produce", code=NotEnoughReplicasError, times=None)
            deliveries = await enqueue(producer, numbered(range(3)))
            assert {type(await error_of(delivery)) for delivery in deliveries} == {DeliveryTimeoutError}
            assert notes.errors == [DeliveryTimeoutError] * 3

    async def test_a_deadline_passes_on_the_wire_and_the_answer_comes_late(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], delivery_timeout=0.2) as (cluster, producer):
            held = cluster.fail("Produce", hold=True)
            (delivery,) = await enqueue(producer, [b"0:"])
            assert type(await error_of(delivery)) is DeliveryTimeoutError
            assert notes.errors == [DeliveryTimeoutError]
            held.release()
            await producer.send(TOPIC, b"1:")
        assert notes.errors == [DeliveryTimeoutError, None]

    async def test_records_that_a_broker_names(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={1: "bad", 3: "bad"})
            deliveries = [producer.enqueue_nowait(TOPIC, value) for value in numbered(range(5))]
            for delivery in deliveries:
                await error_of(delivery)
            by_outcome = {
                (delivery.metadata, delivery.exception) for delivery in deliveries if delivery.metadata
            }
            failed = [(metadata, error) for metadata, error in notes.told if error is not None]
            assert {told for told in notes.told if told[1] is None} == by_outcome
            assert [error for _, error in failed] == [deliveries[1].exception, deliveries[3].exception]
            assert {metadata for metadata, _ in failed} == {RecordMetadata(TOPIC, 0, -1, -1)}
        assert len(notes.told) == 5

    async def test_all_records_of_a_batch_are_named(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (cluster, producer):
            cluster.fail("Produce", topic=TOPIC, code=InvalidRecordError, record_errors={0: "bad", 1: "bad"})
            result = await producer.send_many(TOPIC, [b"0", b"1"])
        assert [error for _, error in notes.told] == [error for _, error in result.failed]

    async def test_a_batch_that_is_divided(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (cluster, producer):
            cluster.create_topic("small", 1, config={"max.message.bytes": "400"})
            await producer.partitions_for("small")
            values = numbered(range(50))
            values[7] = b"x" * 1000
            deliveries = [producer.enqueue_nowait("small", value) for value in values]
            held = cluster.fail("Produce", topic="small", skip=6, hold=True)
            await deliveries[0]
            # Each part's records are told when it is done, not when the last one is.
            assert 0 < len(notes.told) < 50
            assert (deliveries[0].metadata, None) in notes.told
            held.release()
            await producer.flush()
            expected = [(delivery.metadata, delivery.exception) for delivery in deliveries]
            expected[7] = (RecordMetadata("small", 0, -1, -1), deliveries[7].exception)
            assert sorted(notes.told, key=str) == sorted(expected, key=str)

    @pytest.mark.parametrize("acks", ["none", "leader"])
    async def test_without_an_answer(self, acks: Any) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], acks=acks) as (_, producer):
            metadata = await producer.send(TOPIC, b"v")
            assert notes.told == [(metadata, None)]
            assert metadata.offset == (-1 if acks == "none" else 0)

    async def test_it_is_told_before_the_caller(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (_, producer):
            for count in range(1, 20):
                await producer.send(TOPIC, b"v")
                assert len(notes.told) == count
            await producer.send_many(TOPIC, [b"v"] * 100)
            assert len(notes.told) == 119
            deliveries = await enqueue(producer, [b"v"] * 100)
            await producer.flush()
            assert all(delivery.done for delivery in deliveries)
            assert len(notes.told) == 219

    async def test_a_hook_may_send(self) -> None:
        class Copying(Notes):
            def on_acknowledgement(self, metadata: Any, error: Any) -> None:
                super().on_acknowledgement(metadata, error)
                if metadata.topic == TOPIC:
                    deliveries.append(producer.enqueue_nowait("another", b"%d" % metadata.offset))
                    with contextlib.suppress(RecordValidationError):
                        producer.enqueue_nowait("another", 5)
                    # What it brings about itself is told when it is through.
                    in_order.append(self.told[-1] == (metadata, error))

        deliveries: list[Any] = []
        in_order: list[bool] = []
        copying = Copying()
        async with faulty(interceptors=[copying]) as (cluster, producer):
            cluster.create_topic("another", 1)
            await producer.partitions_for("another")
            await producer.send_many(TOPIC, [b"v"] * 20)
            for delivery in deliveries:
                await delivery
            assert len(cluster.log("another")) == 20
        assert in_order == [True] * 20
        assert copying.errors.count(None) == 40
        assert copying.errors.count(RecordValidationError) == 20


class TestCancelled:
    @pytest.mark.parametrize("verb", ["send", "enqueue", "send_many"])
    async def test_in_on_send(self, verb: str) -> None:
        before, gate, after = Notes(), Gate(), Notes()
        async with faulty(interceptors=[before, gate, after]) as (cluster, producer):
            arguments = [TOPIC, [b"v"]] if verb == "send_many" else [TOPIC, b"v"]
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(getattr(producer, verb), *arguments)
                await gate.arrived.wait()
                task_group.cancel_scope.cancel()
            assert before.errors == gate.errors == [SendCancelledError]
            assert before.told[0][0] == NOWHERE
            assert (after.shown, after.told) == ([], [])
            gate.opened.set()
            assert (await producer.send(TOPIC, b"w")).offset == 0
            assert [record.value for record in cluster.log(TOPIC)] == [b"w"]

    @pytest.mark.parametrize("verb", ["send", "enqueue", "send_many"])
    async def test_in_on_send_by_asyncio_itself(self, verb: str, anyio_backend_name: str) -> None:
        gate = Gate()
        async with faulty(interceptors=[gate]) as (cluster, producer):
            value: Any = [b"v"] if verb == "send_many" else b"v"
            if anyio_backend_name == "asyncio":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(getattr(producer, verb)(TOPIC, value), 0.05)
                assert gate.errors == [SendCancelledError]
            gate.opened.set()
            await producer.flush()
            assert cluster.log(TOPIC) == []

    @pytest.mark.parametrize("verb", ["send", "enqueue", "send_many"])
    async def test_waiting_for_room(self, verb: str) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], buffer_memory=10_000) as (cluster, producer):
            held = cluster.fail("Produce", hold=True)
            await enqueue(producer, [bytes(9000)])
            with anyio.move_on_after(0.05):
                value: Any = [bytes(9000)] if verb == "send_many" else bytes(9000)
                await getattr(producer, verb)(TOPIC, value)
            assert notes.errors == [SendCancelledError]
            held.release()
        assert notes.errors == [SendCancelledError, None]

    async def test_a_record_that_was_accepted_has_its_own_outcome(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (cluster, producer):
            held = cluster.fail("Produce", hold=True)
            with anyio.move_on_after(0.05):
                await producer.send(TOPIC, b"v")
            assert notes.told == []
            held.release()
            await producer.flush()
            assert [(metadata.offset, error) for metadata, error in notes.told] == [(0, None)]

    async def test_an_interrupt_in_a_hook_is_the_callers(self) -> None:
        class Interrupting(Notes):
            def on_send(self, record: ProducerRecord) -> None:
                super().on_send(record)
                raise KeyboardInterrupt

        first, second, third = Notes(), Interrupting(), Notes()
        async with faulty(interceptors=[first, second, third]) as (_, producer):
            with pytest.raises(KeyboardInterrupt):
                producer.enqueue_nowait(TOPIC, b"v")
        assert first.errors == second.errors == [SendCancelledError]
        assert (third.shown, third.told) == ([], [])


class TestTheEnd:
    async def test_coroutine_functions_are_awaited_in_order_before_it(self) -> None:
        slow, plain = Slow(), Notes()
        async with faulty(interceptors=[slow, plain]) as (_, producer):
            result = await producer.send_many(TOPIC, [b"%d" % number for number in range(50)])
            assert len(plain.told) == 50
            assert len(slow.told) < 50
        assert slow.told == plain.told == [(metadata, None) for metadata in result]
        assert slow.log[-1] == " close"

    async def test_close_waits_for_them_too(self) -> None:
        slow = Slow()
        async with faulty(interceptors=[slow]) as (_, producer):
            await producer.send_many(TOPIC, [b"v"] * 50)
            await producer.close()
            assert len(slow.told) == 50
            assert slow.closed == 1
        assert slow.closed == 1

    async def test_but_not_beyond_its_timeout(self, caplog: pytest.LogCaptureFixture) -> None:
        stuck, last = Stuck(), Notes()
        async with faulty(interceptors=[stuck, last], close_timeout=0.05) as (_, producer):
            await producer.send_many(TOPIC, [b"v"] * 5)
            with anyio.fail_after(10), pytest.raises(CloseTimeoutError):
                await producer.close(timeout=0.05)
        assert stuck.closed == last.closed == 1
        assert last.errors == [None] * 5
        assert (
            "the producer ended while on_acknowledgement of the interceptor Stuck was under way"
            in caplog.text
        )
        assert "3 calls of on_acknowledgement were not awaited within close_timeout (0.05 s)" in caplog.text
        assert "close of the interceptor Stuck took longer than close_timeout" in caplog.text
        # A coroutine that nobody awaits would warn when it is collected, and a warning is an error here.
        del stuck
        gc.collect()

    @pytest.mark.parametrize("close_timeout", [0, 0.05])
    async def test_what_was_not_delivered_is_told_before_it(self, close_timeout: float) -> None:
        slow, plain = Slow(), Notes()
        late: list[Any] = []
        with pytest.raises(ZeroDivisionError):
            async with faulty(interceptors=[slow, plain], close_timeout=close_timeout) as (cluster, producer):
                cluster.fail("Produce", hold=True, times=None)
                late = await enqueue(producer, numbered(range(3)))
                raise ZeroDivisionError
        errors = [await error_of(delivery) for delivery in late]
        assert {type(error) for error in errors} == {ProducerClosedError}
        assert [error for _, error in plain.told] == errors
        assert plain.log[-1] == " close"
        if close_timeout:
            assert slow.told == plain.told

    async def test_a_crash(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def buggy(*_: Any) -> None:
            raise ZeroDivisionError("a bug")

        slow, plain = Slow(), Notes()
        monkeypatch.setattr(engine, "Sequences", type("Buggy", (Sequences,), {"acknowledged": buggy}))
        with anyio.fail_after(30), pytest.raises(ProducerCrashedError):
            async with faulty(interceptors=[slow, plain]) as (_, producer):
                with contextlib.suppress(ProducerCrashedError):
                    await producer.send(TOPIC, b"v")
                await anyio.sleep_forever()
        assert slow.errors == plain.errors == [ProducerCrashedError]
        assert slow.closed == plain.closed == 1

    async def test_a_record_that_is_in_on_send_is_still_taken(self) -> None:
        gate = Gate()
        async with faulty(interceptors=[gate]) as (cluster, producer):
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(producer.send, TOPIC, b"v")
                await gate.arrived.wait()
                task_group.start_soon(producer.close)
                await anyio.wait_all_tasks_blocked()
                assert producer.closed
                with pytest.raises(ProducerClosedError):
                    await producer.send(TOPIC, b"w")
                gate.opened.set()
            assert [record.value for record in cluster.log(TOPIC)] == [b"v"]
        assert gate.errors == [None]
        assert gate.closed == 1

    @pytest.mark.parametrize("verb", ["send", "enqueue", "send_many"])
    async def test_unless_it_stays_there_for_too_long(self, verb: str) -> None:
        gate, last = Gate(), Notes()
        told: list[Any] = []

        async def send() -> None:
            try:
                value: Any = [b"v"] if verb == "send_many" else b"v"
                result = await getattr(producer, verb)(TOPIC, value)
                told.extend(error for _, error in result.failed)
            except ProducerClosedError as error:
                told.append(error)

        async with faulty(interceptors=[gate, last]) as (cluster, producer):
            async with anyio.create_task_group() as task_group:
                task_group.start_soon(send)
                await gate.arrived.wait()
                with pytest.raises(CloseTimeoutError):
                    await producer.close(timeout=0.05)
            assert cluster.log(TOPIC) == []
        assert [type(error) for error in told] == gate.errors == [ProducerClosedError]
        assert (last.shown, last.told) == ([], [])

    async def test_a_hook_may_close_the_producer(self) -> None:
        class Closing(Notes):
            async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
                super().on_acknowledgement(metadata, error)
                await producer.close()

        closing = Closing()
        async with faulty(interceptors=[closing]) as (_, producer):
            await producer.send(TOPIC, b"v")
            with anyio.fail_after(20):
                await producer._finished.wait()
        assert (closing.errors, closing.closed) == ([None], 1)

    async def test_a_producer_that_cannot_connect(self) -> None:
        class Nowhere:
            async def connect(self, host: str, port: int) -> Any:
                await anyio.sleep_forever()

        notes = Notes()
        with anyio.move_on_after(0.05):
            async with Producer("nowhere:1", connector=Nowhere(), interceptors=[notes]) as producer:
                await producer.send(TOPIC, b"v")
        assert len(notes.shown) == len(notes.told) == notes.closed == 1

    async def test_a_hook_whose_own_task_was_cancelled(
        self, anyio_backend_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def cancelled() -> None:
            if anyio_backend_name == "asyncio":
                task = asyncio.ensure_future(asyncio.sleep(60))
                task.cancel()
                await task
            raise ZeroDivisionError

        class Careless(Notes):
            def on_acknowledgement(self, metadata: Any, error: Any) -> Any:
                super().on_acknowledgement(metadata, error)
                return cancelled()

            def close(self) -> Any:
                super().close()
                return cancelled()

        careless = Careless()
        async with faulty(interceptors=[careless]) as (_, producer):
            for _ in range(3):
                await producer.send(TOPIC, b"v")
        assert (careless.errors, careless.closed) == ([None] * 3, 1)
        for hook, times in (("on_acknowledgement", 3), ("close", 1)):
            assert caplog.text.count(f"{hook} of the interceptor Careless failed") == times

    async def test_an_interceptor_without_hooks(self) -> None:
        async with faulty(interceptors=[ProducerInterceptor()]) as (_, producer):
            await producer.send(TOPIC, b"v")
            producer.enqueue_nowait(TOPIC, b"v")
