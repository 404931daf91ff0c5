"""Interceptors see each record on its way in, may change or refuse it, and do no harm by failing."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from faulty import TOPIC, faulty
from hooking import VERBS, WAITING_VERBS, Notes

import krafka._io.telling
from krafka import (
    BufferFullError,
    BufferTimeoutError,
    MetadataNotReadyError,
    ProducerClosedError,
    ProducerInterceptor,
    ProducerRecord,
    ProducerStateError,
    RecordRejectedError,
    RecordValidationError,
    RejectRecord,
)
from krafka.testing import Fault

pytestmark = pytest.mark.anyio

every_verb = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.__name__)
every_waiting_verb = pytest.mark.parametrize("verb", WAITING_VERBS, ids=lambda verb: verb.__name__)
VALUES = [b"%d" % number for number in range(5)]


class Renaming(Notes):
    """Puts its name into the headers and behind the value."""

    def on_send(self, record: ProducerRecord) -> None:
        super().on_send(record)
        record.add_header(self.name, b"")
        record.value += b" " + self.name.encode()


class Replacing(Notes):
    def on_send(self, record: ProducerRecord) -> ProducerRecord:
        super().on_send(record)
        return ProducerRecord("another", record.value, key=b"k")


class Failing(Notes):
    """Fails in every hook, after it has spoilt the record."""

    def on_send(self, record: ProducerRecord) -> None:
        super().on_send(record)
        record.topic, record.value, record.key, record.headers, record.partition = "", 5, 5, 5, 5  # type: ignore[assignment]
        raise ZeroDivisionError("a bug in on_send")

    def on_acknowledgement(self, metadata: Any, error: Any) -> None:
        super().on_acknowledgement(metadata, error)
        raise ZeroDivisionError("a bug in on_acknowledgement")

    def close(self) -> None:
        super().close()
        raise ZeroDivisionError("a bug in close")


class Picky(Notes):
    """Refuses some values."""

    def on_send(self, record: ProducerRecord) -> None:
        super().on_send(record)
        if record.value in VALUES[1:3]:
            raise RejectRecord(f"{record.value!r} is none of ours")


class Awaited(Notes):
    """Is awaited in every hook."""

    async def on_send(self, record: ProducerRecord) -> ProducerRecord | None:
        super().on_send(record)
        await anyio.lowlevel.checkpoint()
        return None

    async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
        await anyio.lowlevel.checkpoint()
        super().on_acknowledgement(metadata, error)

    async def close(self) -> None:
        await anyio.lowlevel.checkpoint()
        super().close()


class TestOnTheWayIn:
    @every_verb
    async def test_each_sees_what_the_last_one_made_of_a_record(self, verb: Any) -> None:
        chain = [Renaming("a"), Renaming("b"), last := Notes()]
        async with faulty(interceptors=chain) as (cluster, producer):
            told = await verb(producer, list(VALUES))
            written = cluster.log(TOPIC)
        assert last.values == [record.value for record in written] == [value + b" a b" for value in VALUES]
        assert {record.headers for record in written} == {(("a", b""), ("b", b""))}
        for notes in chain:
            assert notes.told == [(metadata, None) for metadata in told]
            assert notes.closed == 1

    @every_verb
    async def test_another_record_may_take_its_place(self, verb: Any) -> None:
        first, last = Replacing(), Notes()
        async with faulty(interceptors=[first, last]) as (cluster, producer):
            cluster.create_topic("another", 1)
            await producer.partitions_for("another")
            told = await verb(producer, list(VALUES))
            assert cluster.log(TOPIC) == []
            assert [(record.key, record.value) for record in cluster.log("another")] == [
                (b"k", value) for value in VALUES
            ]
        assert {record.topic for record in last.shown} == {"another"}
        assert first.told == last.told == [(metadata, None) for metadata in told]

    @every_waiting_verb
    async def test_coroutine_functions_are_awaited(self, verb: Any) -> None:
        log: list[str] = []
        chain = [Awaited("a", log), Notes("b", log), Awaited("c", log)]
        async with faulty(interceptors=chain) as (cluster, producer):
            told = await verb(producer, list(VALUES))
            assert [record.value for record in cluster.log(TOPIC)] == VALUES
        for notes in chain:
            assert notes.values == VALUES
            assert notes.told == [(metadata, None) for metadata in told]
        sends = [entry for entry in log if entry.endswith("on_send")]
        assert sends == ["a on_send", "b on_send", "c on_send"] * len(VALUES)
        assert log[-3:] == ["a close", "b close", "c close"]

    async def test_what_the_caller_gave_stays_as_it_is(self) -> None:
        class Greedy(ProducerInterceptor):
            def on_send(self, record: ProducerRecord) -> None:
                assert record.headers == (("h", b"1"),)
                record.add_header("more", b"")
                record.topic, record.value, record.key = TOPIC, b"mine", b"mine"

        record = ProducerRecord("any", b"yours", headers=[("h", b"1")])
        mapped = ProducerRecord("any", b"yours", headers={"h": b"1"})
        pairs = [("h", b"1")]
        async with faulty(interceptors=[Greedy()]) as (cluster, producer):
            await producer.send_record(record)
            await producer.send_many([record, mapped])
            await producer.send("any", b"yours", headers=pairs)
            assert {each.value for each in cluster.log(TOPIC)} == {b"mine"}
        assert record == ProducerRecord("any", b"yours", headers=[("h", b"1")])
        assert mapped == ProducerRecord("any", b"yours", headers={"h": b"1"})
        assert pairs == [("h", b"1")]

    async def test_a_record_given_in_place_of_many_is_not_changed_by_the_next(self) -> None:
        always = ProducerRecord(TOPIC, b"always")

        class Same(ProducerInterceptor):
            def on_send(self, record: ProducerRecord) -> ProducerRecord:
                return always

        async with faulty(interceptors=[Same(), Renaming("b")]) as (cluster, producer):
            await producer.send_many(TOPIC, VALUES)
            assert {record.value for record in cluster.log(TOPIC)} == {b"always b"}
        assert always == ProducerRecord(TOPIC, b"always")

    async def test_records_keep_their_order(self) -> None:
        async with faulty(interceptors=[Awaited()]) as (cluster, producer):
            values = [b"%d" % number for number in range(1000)]
            await producer.send_many(TOPIC, values)
            for value in values:
                await producer.enqueue(TOPIC, value)
            await producer.flush()
            assert [record.value for record in cluster.log(TOPIC)] == values * 2

    async def test_what_is_no_record_is_a_mistake_of_the_caller(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (cluster, producer):
            for items in ([b"v"], [ProducerRecord(TOPIC, b"0"), b"v"]):
                with pytest.raises(
                    TypeError, match=r"takes ProducerRecord objects, got bytes; .*\(topic, values\)"
                ):
                    await producer.send_many(items)  # type: ignore[call-overload]
            await producer.flush()
            assert [record.value for record in cluster.log(TOPIC)] == [b"0"]
        assert (notes.values, notes.errors) == ([b"0"], [None])

    async def test_a_bulk_call_lets_others_run_and_stops_when_the_producer_is_closed(self) -> None:
        class Endless:
            taken = 0

            def __iter__(self) -> Any:
                while True:
                    self.taken += 1
                    yield b"%d" % self.taken

        notes = Notes()
        endless = Endless()
        async with faulty(interceptors=[notes]) as (cluster, producer):

            async def close() -> None:
                await producer.close()

            async with anyio.create_task_group() as task_group:
                task_group.start_soon(close)
                result = await producer.send_many(TOPIC, endless)
            assert len(result) == endless.taken
            assert [index for index, _ in result.failed] == [endless.taken - 1]
            assert len(cluster.log(TOPIC)) == endless.taken - 1
        assert notes.errors == [None] * (endless.taken - 1)

    async def test_the_rest_of_a_sequence_is_refused_without_being_shown(self) -> None:
        class Closing(Notes):
            async def on_send(self, record: ProducerRecord) -> None:
                super().on_send(record)
                if record.value == VALUES[2]:
                    task_group.start_soon(producer.close)
                    await anyio.wait_all_tasks_blocked()

        closing = Closing()
        async with faulty(interceptors=[closing]) as (_, producer), anyio.create_task_group() as task_group:
            result = await producer.send_many(TOPIC, VALUES)
            assert [(index, type(error)) for index, error in result.failed] == [
                (3, ProducerClosedError),
                (4, ProducerClosedError),
            ]
        assert (closing.values, closing.errors) == (VALUES[:3], [None] * 3)

    async def test_without_any_the_verbs_are_the_bare_ones(self) -> None:
        async with faulty() as (_, producer):
            engine = producer._engine_or_none
            assert engine is not None
            assert producer.enqueue_nowait == engine.accumulator.appender.append
            assert producer._hooked is None

    async def test_a_producer_that_takes_nothing_shows_nothing(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes]) as (_, producer):
            await producer.close()
            for verb in VERBS[:3]:
                assert [type(told) for told in await verb(producer, VALUES[:1])] == [ProducerClosedError]
            with pytest.raises(ProducerClosedError):
                producer.enqueue_nowait(TOPIC, b"")
            with pytest.raises(ProducerClosedError):
                await producer.send_many(TOPIC, VALUES)
        assert (notes.shown, notes.told, notes.closed) == ([], [], 1)

    @pytest.mark.parametrize("close_timeout", [0.0, 0.01])
    async def test_it_is_closed_after_those_whose_callers_still_waited(self, close_timeout: float) -> None:
        class BodyError(Exception):
            pass

        notes = Notes()
        told: list[type[Exception]] = []
        stalled = Fault(api="Produce", times=None, hold=True)
        options = {"buffer_memory": 2000, "batch_size": 1000, "close_timeout": close_timeout}
        async with anyio.create_task_group() as callers:
            with pytest.raises(BodyError):
                async with faulty(faults=[stalled], interceptors=[notes], **options) as (_, producer):

                    async def send() -> None:
                        try:
                            await producer.send(TOPIC, bytes(1500))
                        except ProducerClosedError as error:
                            told.append(type(error))

                    for _ in range(4):
                        callers.start_soon(send)
                    await anyio.wait_all_tasks_blocked()
                    raise BodyError
        assert told == [ProducerClosedError] * 4
        assert notes.errors == told
        assert len(notes.shown) == 4
        assert notes.log[-1] == " close"


class TestRefusing:
    @every_verb
    async def test_the_caller_is_told_by_whom_and_why(self, verb: Any) -> None:
        first, picky, last = Notes(), Picky(), Notes()
        async with faulty(interceptors=[first, picky, last]) as (cluster, producer):
            told = await verb(producer, list(VALUES))
            assert [record.value for record in cluster.log(TOPIC)] == [VALUES[0], *VALUES[3:]]
        for value, error in zip(VALUES[1:3], told[1:3], strict=True):
            assert isinstance(error, RecordRejectedError)
            assert isinstance(error, RecordValidationError)
            assert isinstance(error.__cause__, RejectRecord)
            assert (error.interceptor, error.reason) == ("Picky", f"{value!r} is none of ours")
            assert "topic 'orders'" in str(error)
            assert "interceptor Picky: b'" in str(error)
        assert first.values == picky.values == VALUES
        assert last.values == [VALUES[0], *VALUES[3:]]
        for notes in (first, picky):
            assert sorted(notes.errors, key=str).count(RecordRejectedError) == 2
            assert len(notes.told) == 5
            assert [metadata for metadata, error in notes.told if error is not None] == [
                (TOPIC, -1, -1, -1)
            ] * 2
        assert last.errors == [None] * 3

    async def test_a_coroutine_function_may_refuse_too(self) -> None:
        class Asking(Notes):
            async def on_send(self, record: ProducerRecord) -> None:
                super().on_send(record)
                await anyio.lowlevel.checkpoint()
                raise RejectRecord("no")

        asking = Asking()
        async with faulty(interceptors=[asking]) as (cluster, producer):
            with pytest.raises(RecordRejectedError, match="Asking: no"):
                await producer.send(TOPIC, b"", partition=0)
            assert cluster.log(TOPIC) == []
        assert [(metadata.partition, type(error)) for metadata, error in asking.told] == [
            (0, RecordRejectedError)
        ]


class TestFailing:
    @every_verb
    async def test_it_does_no_harm_and_is_logged(self, verb: Any, caplog: pytest.LogCaptureFixture) -> None:
        failing, last = Failing(), Notes()
        async with faulty(interceptors=[failing, last]) as (cluster, producer):
            told = await verb(producer, list(VALUES))
            assert [record.value for record in cluster.log(TOPIC)] == VALUES
        assert failing.told == last.told == [(metadata, None) for metadata in told]
        assert last.closed == 1
        for hook in ("on_send", "on_acknowledgement"):
            lines = [record for record in caplog.records if record.getMessage().startswith(hook)]
            assert len(lines) == len(VALUES)
            for line in lines:
                assert "interceptor Failing failed for a record of topic 'orders'" in line.getMessage()
                assert f"ZeroDivisionError: a bug in {hook}" in line.getMessage()
                assert line.exc_info is not None
                assert line.exc_info[0] is ZeroDivisionError
        assert "close of the interceptor Failing failed (failure 1 of it)" in caplog.text

    async def test_coroutine_functions_may_fail_too(self, caplog: pytest.LogCaptureFixture) -> None:
        class FailsLater(ProducerInterceptor):
            async def on_send(self, record: ProducerRecord) -> None:
                record.value = b"spoilt"
                await anyio.lowlevel.checkpoint()
                raise ZeroDivisionError("on_send")

            async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
                raise ZeroDivisionError("on_acknowledgement")

            async def close(self) -> None:
                raise ZeroDivisionError("close")

        async with faulty(interceptors=[FailsLater()]) as (cluster, producer):
            await producer.send(TOPIC, b"v")
            await producer.send(TOPIC, b"v")
            assert {record.value for record in cluster.log(TOPIC)} == {b"v"}
        logged = [record.getMessage().split(" of ")[0] for record in caplog.records]
        assert logged.count("on_send") == logged.count("on_acknowledgement") == 2
        assert logged.count("close") == 1

    async def test_what_is_no_record_is_not_sent_in_its_place(self, caplog: pytest.LogCaptureFixture) -> None:
        class Confused(ProducerInterceptor):
            def on_send(self, record: ProducerRecord) -> Any:
                record.value = b"spoilt"
                return b"spoilt"

        async with faulty(interceptors=[Confused()]) as (cluster, producer):
            await producer.send(TOPIC, b"v")
            assert [record.value for record in cluster.log(TOPIC)] == [b"v"]
        assert "has to return a ProducerRecord or None, not bytes" in caplog.text

    async def test_a_flood_of_failures_is_logged_ever_more_rarely(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.ERROR)
        async with faulty(interceptors=[Failing()]) as (_, producer):
            await producer.send_many(TOPIC, [b"v"] * 1000)
        lines = [record.getMessage() for record in caplog.records if "on_send" in record.getMessage()]
        assert len(lines) == 10 + 6
        assert "(failure 512 of it)" in lines[-1]


class TestEnqueueNowait:
    async def test_it_refuses_at_once_to_call_a_coroutine_function(self) -> None:
        first, second = Notes(), Awaited()
        async with faulty(interceptors=[first, second]) as (_, producer):
            with pytest.raises(
                ProducerStateError, match=r"on_send of the interceptor Awaited.* await enqueue"
            ):
                producer.enqueue_nowait(TOPIC, b"v")
            assert (first.shown, second.shown) == ([], [])
            await producer.enqueue(TOPIC, b"v")

    async def test_a_plain_function_that_is_to_be_awaited_all_the_same(self) -> None:
        started = []

        async def later() -> None:
            started.append(True)

        class Sly(Notes):
            def on_send(self, record: ProducerRecord) -> Any:
                super().on_send(record)
                return later()

        first, sly, last = Notes(), Sly(), Notes()
        async with faulty(interceptors=[first, sly, last]) as (cluster, producer):
            with pytest.raises(ProducerStateError, match="on_send of the interceptor Sly"):
                producer.enqueue_nowait(TOPIC, b"v")
            assert (started, last.shown, last.told) == ([], [], [])
            assert first.errors == sly.errors == [ProducerStateError]
            await producer.send(TOPIC, b"v")
            assert started == [True]
            assert len(cluster.log(TOPIC)) == 1

    async def test_a_record_that_would_have_to_wait(self) -> None:
        notes = Notes()
        async with faulty(interceptors=[notes], ready=False, buffer_memory=10_000) as (cluster, producer):
            with pytest.raises(MetadataNotReadyError):
                producer.enqueue_nowait(TOPIC, b"v")
            await producer.partitions_for(TOPIC)
            held = cluster.fail("Produce", hold=True, times=None)
            with pytest.raises(BufferFullError):
                for _ in range(100):
                    producer.enqueue_nowait(TOPIC, bytes(1000))
            assert notes.errors == [MetadataNotReadyError, BufferFullError]
            held.times = 0
            held.release()
        assert len(notes.told) == len(notes.shown)
        assert notes.errors[2:] == [None] * (len(notes.shown) - 2)


class TestFallingBehind:
    """Coroutine functions that are slower than the records: new records wait, so that memory does not run out."""

    @pytest.fixture(autouse=True)
    def _short_of_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(krafka._io.telling, "MAX_BACKLOG", 3)

    async def test_records_wait(self) -> None:
        waiting = 0
        most = 0

        class Slow(Notes):
            def on_acknowledgement(self, metadata: Any, error: Any) -> Any:
                nonlocal waiting, most
                waiting += 1
                most = max(most, waiting)
                return self.later(metadata, error)

            async def later(self, metadata: Any, error: Any) -> None:
                nonlocal waiting
                await anyio.sleep(0.001)
                waiting -= 1
                super().on_acknowledgement(metadata, error)

        slow = Slow()
        async with faulty(interceptors=[slow]) as (_, producer):
            for value in VALUES * 4:
                await producer.send(TOPIC, value)
            await producer.send_many(TOPIC, VALUES)
        assert slow.errors == [None] * 25
        assert most <= 3 + len(VALUES)

    async def test_not_for_ever(self) -> None:
        class Stuck(Notes):
            async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
                await release.wait()

        release = anyio.Event()
        stuck = Stuck()
        async with faulty(interceptors=[stuck], max_block=0.05) as (_, producer):
            for value in VALUES[:4]:
                await producer.send(TOPIC, value)
            with pytest.raises(BufferTimeoutError, match=r"on_acknowledgement .*max_block 0.05 s"):
                await producer.send(TOPIC, b"v")
            with pytest.raises(BufferFullError, match="on_acknowledgement"):
                producer.enqueue_nowait(TOPIC, b"v")
            assert stuck.values == VALUES[:4]
            release.set()
            await producer.send(TOPIC, b"v")

    async def test_a_hook_that_sends_does_not_wait_for_itself(self) -> None:
        class Copying(Notes):
            async def on_acknowledgement(self, metadata: Any, error: Any) -> None:
                super().on_acknowledgement(metadata, error)
                if metadata.topic == TOPIC:
                    await producer.enqueue("another", b"%d" % metadata.offset)
                elif len(self.told) == 2 * len(VALUES) * 4:
                    all_told.set()

        all_told = anyio.Event()

        copying = Copying()
        async with faulty(interceptors=[copying]) as (cluster, producer):
            cluster.create_topic("another", 1)
            await producer.send_many(TOPIC, VALUES * 4)
            await all_told.wait()
            assert len(cluster.log("another")) == 20
        assert copying.errors == [None] * 40
