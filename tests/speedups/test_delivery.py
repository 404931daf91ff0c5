"""What callers hold: a `Delivery` for one record, a `SendResult` for many."""

from __future__ import annotations

import gc
import sys
import tracemalloc
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from append_path import ENDLESS, TOPIC, WALL_CLOCK, AppendPath

from krafka._speedups.batch import for_raising
from krafka._speedups.delivery import SendResult
from krafka._speedups.record_metadata import RecordMetadata
from krafka.errors import (
    BufferFullError,
    DeliveryTimeoutError,
    InvalidRecordError,
    KafkaError,
    MetadataNotReadyError,
    ProducerClosedError,
    RecordTooLargeError,
    RecordValidationError,
    SendManyError,
    UnknownKafkaError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._speedups.delivery import Delivery


@pytest.fixture
def path() -> AppendPath:
    return AppendPath(partitions=2)


def appended(result: SendResult, path: AppendPath, *values: Any) -> None:
    before = len(result)
    _, _, reason = path.appender.append_many(result, TOPIC, iter(values), len(values), ENDLESS)
    assert (len(result) - before, reason) == (len(values), None)


@pytest.mark.anyio
class TestAwaiting:
    async def test_many_tasks_may_await_many_times(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        seen: list[RecordMetadata] = []

        async def wait() -> None:
            for _ in range(3):
                seen.append(await delivery)  # noqa: PERF401 - each is an await of its own

        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            path.opened[0].complete(7, -1)
        assert seen == [RecordMetadata(TOPIC, 0, 7, WALL_CLOCK)] * 9

    async def test_cancelling_one_await_leaves_the_record_and_the_others_alone(
        self, path: AppendPath
    ) -> None:
        delivery = path.append(TOPIC, b"")
        seen: list[RecordMetadata] = []
        scope = anyio.CancelScope()

        async def wait() -> None:
            seen.append(await delivery)

        async def wait_cancelled() -> None:
            with scope:
                await delivery

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            tasks.start_soon(wait_cancelled)
            await anyio.wait_all_tasks_blocked()
            scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert scope.cancelled_caught
            assert not delivery.done
            path.opened[0].complete(7, -1)
        assert len(seen) == 1

    async def test_a_known_outcome_is_had_at_once(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        path.opened[0].complete(7, -1)
        with anyio.CancelScope() as scope:
            scope.cancel()
            # No checkpoint on the way: one would be cancelled here.
            assert (await delivery).offset == 7

    async def test_every_await_of_a_failure_raises_an_error_of_its_own(self, path: AppendPath) -> None:
        first, second = path.append(TOPIC, b"", partition=0), path.append(TOPIC, b"", partition=0)
        reason = OSError("the reason")
        shared = DeliveryTimeoutError("too late", possibly_written=True)
        shared.__cause__ = reason
        path.opened[0].fail(shared)
        depths = []
        for delivery in (first, second) * 5:
            with pytest.raises(DeliveryTimeoutError, match="too late") as caught:
                await delivery
            assert caught.value is not shared
            assert caught.value.possibly_written
            assert caught.value.__cause__ is reason
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1
        assert shared.__traceback__ is None
        assert first.exception is shared

    async def test_a_result_waits_for_all_its_batches(self, path: AppendPath) -> None:
        result = SendResult()
        appended(result, path, b"a", b"b", b"c")
        done = anyio.Event()

        async def wait() -> None:
            await result.wait()
            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            path.opened[0].complete(0, -1)
            await anyio.wait_all_tasks_blocked()
            assert not done.is_set()
            path.opened[1].complete(0, -1)
        assert done.is_set()


class TestDelivery:
    def test_before_the_outcome_nothing_is_known_but_the_place(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"", partition=1)
        assert (delivery.topic, delivery.partition) == (TOPIC, 1)
        assert (delivery.done, delivery.metadata, delivery.exception) == (False, None, None)

    def test_offsets_count_from_the_first_record(self, path: AppendPath) -> None:
        deliveries = [path.append(TOPIC, b"", partition=0, timestamp=n) for n in range(3)]
        path.opened[0].complete(100, -1)
        assert [d.metadata for d in deliveries] == [RecordMetadata(TOPIC, 0, 100 + n, n) for n in range(3)]

    def test_a_brokers_timestamp_counts_more_than_the_records(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        path.opened[0].complete(0, 4711)
        assert delivery.metadata is not None
        assert delivery.metadata.timestamp == 4711

    def test_where_no_broker_told_an_offset_there_is_none(self, path: AppendPath) -> None:
        deliveries = [path.append(TOPIC, b"", partition=0) for _ in range(2)]
        path.opened[0].complete(-1, -1)
        assert [d.metadata.offset for d in deliveries if d.metadata] == [-1, -1]

    def test_a_failed_record_has_no_metadata(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        error = InvalidRecordError("bad")
        path.opened[0].fail(error)
        assert delivery.done
        assert delivery.metadata is None
        assert delivery.exception is error


class TestForRaising:
    @pytest.mark.parametrize(
        "error",
        [
            InvalidRecordError("bad", possibly_written=True),
            UnknownKafkaError("new", code=4321),
            SendManyError("some", failed=[(1, InvalidRecordError("bad"))]),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_the_copy_says_the_same(self, error: KafkaError) -> None:
        copied = for_raising(error)
        assert copied is not error
        assert type(copied) is type(error)
        assert str(copied) == str(error)
        assert (copied.code, copied.possibly_written) == (error.code, error.possibly_written)
        assert vars(copied) == vars(error)

    def test_notes_on_a_copy_stay_there(self) -> None:
        error = InvalidRecordError("bad")
        error.add_note("for all")
        copied = for_raising(error)
        copied.add_note("for one")
        assert error.__notes__ == ["for all"]
        assert copied.__notes__ == ["for all", "for one"]


class TestSendResult:
    def test_it_is_a_sequence_of_what_became_of_the_records(self, path: AppendPath) -> None:
        result = SendResult()
        appended(result, path, b"a", b"b", b"c", b"d")
        for at, batch in enumerate(path.opened):
            batch.complete(10 * at, -1)
        expected = [RecordMetadata(TOPIC, n % 2, 10 * (n % 2) + n // 2, WALL_CLOCK) for n in range(4)]
        assert len(result) == 4
        assert list(result) == expected
        assert [result[n] for n in range(-4, 4)] == expected * 2
        assert result[1:3] == expected[1:3]
        assert result[::-1] == expected[::-1]
        assert list(reversed(result)) == expected[::-1]
        assert result.failed == []
        result.raise_for_errors()

    @pytest.mark.parametrize("index", [4, -5, 2**40, -(2**40)])
    def test_out_of_range(self, path: AppendPath, index: int) -> None:
        result = SendResult()
        appended(result, path, b"a", b"b", b"c", b"d")
        with pytest.raises(IndexError):
            result[index]

    def test_an_index_is_a_number(self) -> None:
        with pytest.raises(TypeError):
            SendResult()["0"]  # type: ignore[call-overload]

    def test_an_empty_result(self) -> None:
        result = SendResult()
        assert len(result) == 0
        assert list(result) == result.failed == []
        result.raise_for_errors()

    def test_one_bad_record_fails_alone(self, path: AppendPath) -> None:
        result = SendResult()
        appended(result, path, b"a", "text", b"c")
        for batch in path.opened:
            batch.complete(0, -1)
        assert result[0].offset == result[2].offset == 0
        for _ in range(2):
            with pytest.raises(RecordValidationError, match="value is str"):
                result[1]
        ((index, error),) = result.failed
        assert index == 1
        expected = r"1 of 3 records failed; the first is record 1: .*value is str"
        with pytest.raises(SendManyError, match=expected) as caught:
            result.raise_for_errors()
        assert caught.value.failed == [(1, error)]
        assert caught.value.__cause__ is error

    def test_failures_are_told_in_the_order_of_the_records(self, path: AppendPath) -> None:
        result = SendResult()
        appended(result, path, b"0", b"1", b"2", 3, b"4", b"5")
        own = InvalidRecordError("own")
        path.opened[0].fail(InvalidRecordError("innocent"), {1: own})
        path.opened[1].complete(0, -1)
        assert [index for index, _ in result.failed] == [0, 2, 3, 5]
        assert [error for index, error in result.failed if error is own] == [own]
        assert result.failed[1] == (2, own)

    def test_results_may_share_a_batch_with_each_other_and_with_single_records(self) -> None:
        path = AppendPath()
        first, second = SendResult(), SendResult()
        singles: list[Delivery] = []
        where: list[tuple[SendResult | None, int]] = []
        for number in range(300):
            if number % 5 == 4:
                singles.append(path.append(TOPIC, b"x", timestamp=number))
                where.append((None, len(singles) - 1))
            elif number % 7 == 3:
                first.add_delivery(path.append(TOPIC, b"x", timestamp=number))
                where.append((first, len(first) - 1))
            else:
                result = first if number % 3 else second
                appended(result, path, b"x")
                where.append((result, len(result) - 1))
        batches = path.take_all()
        assert len(batches) == 1
        batches[0].complete(1000, -1)
        for number, (result, index) in enumerate(where):
            metadata = singles[index].metadata if result is None else result[index]
            assert metadata is not None
            assert metadata.offset == 1000 + number
            if result is None or number % 7 == 3:
                assert metadata.timestamp == number

    def test_each_record_keeps_its_own_timestamp(self) -> None:
        path = AppendPath()
        clock = iter(range(1000))
        ticking = type(path.appender)(
            batch_size=4096,
            buffer_memory=1 << 20,
            max_request_size=1 << 20,
            delivery_timeout=1.0,
            monotonic=lambda: 0.0,
            on_opened=path.opened.append,
            on_sealed=path.sealed.append,
            wall_clock=lambda: next(clock) // 3,
        )
        ticking.topics.update(path.appender.topics)
        result = SendResult()
        ticking.append_many(result, TOPIC, iter([b"x"] * 100), 100, ENDLESS)
        for batch in path.take_all():
            batch.complete(0, -1)
        assert [metadata.timestamp for metadata in result] == [n // 3 for n in range(100)]

    def test_refused_records_are_noted_in_their_place(self, path: AppendPath) -> None:
        result = SendResult()
        result.add_delivery(path.append(TOPIC, b"", partition=0))
        result.add_refused(ProducerClosedError("closed"))
        path.opened[0].complete(3, -1)
        assert result[0].offset == 3
        with pytest.raises(ProducerClosedError):
            result[1]
        assert repr(result) == "<SendResult of 2 records in 1 batches>"

    def test_many_records(self) -> None:
        path = AppendPath(batch_size=16_384, buffer_memory=32 << 20)
        result = SendResult()
        appended(result, path, *[b"value"] * 20_000)
        offset = 0
        for batch in path.take_all():
            count = batch.record_count
            batch.complete(offset, -1)
            offset += count
        assert [metadata.offset for metadata in result] == list(range(20_000))


class TestNothingLeaks:
    def test_what_was_appended_can_be_resized_and_freed(self) -> None:
        path = AppendPath()
        value, key, header = bytearray(b"v"), bytearray(b"k"), bytearray(b"h")
        path.append(TOPIC, value, key=key, headers=[("h", header)] * 12)
        for failing in (
            lambda: path.append(TOPIC, value, key="text", headers={"h": header}),  # type: ignore[arg-type]
            lambda: path.append(TOPIC, value, key=key, headers=[("h", header), ("h", 5)]),  # type: ignore[list-item]
            lambda: path.append(TOPIC, value, key=key, partition=-1),
            lambda: path.append("unknown", memoryview(value), key=key, headers=[("h", header)]),
            lambda: path.append(TOPIC, memoryview(bytearray(2 << 20)), key=key),
        ):
            with pytest.raises(KafkaError):
                failing()
        for array in (value, key, header):
            array.extend(b"more")

    def test_a_failing_append_keeps_no_reference_to_its_arguments(self) -> None:
        class Value(bytes):
            pass

        path = AppendPath()
        value = Value(b"v")
        before = sys.getrefcount(value)
        for _ in range(100):
            with pytest.raises(RecordValidationError):
                path.append(TOPIC, value, headers=[("h", value), ("bad", 5)])  # type: ignore[list-item]
            path.append(TOPIC, value, key=value, headers={"h": value})
        gc.collect()
        assert sys.getrefcount(value) == before

    def test_batches_and_results_go_when_nobody_holds_them(self) -> None:
        class MarkedError(KafkaError):
            pass

        path = AppendPath()
        result = SendResult()
        appended(result, path, b"a")
        delivery = path.append(TOPIC, b"b")
        error: MarkedError | None = MarkedError("the batch holds it")
        assert error is not None
        gone = weakref.ref(error)
        path.take_all()[0].fail(error)
        path.opened.clear()
        assert delivery.exception is error
        del result, delivery
        error = None
        gc.collect()
        assert gone() is None

    @pytest.mark.parametrize(
        "kind", ["plain", "headers", "mapping", "views", "invalid", "large", "full", "unknown", "bulk"]
    )
    def test_memory_stays_flat(self, kind: str) -> None:
        path = AppendPath(batch_size=4096, buffer_memory=20_000, max_request_size=10_000)
        filler = AppendPath(batch_size=1000, buffer_memory=1000)
        filler.append(TOPIC, bytes(800))

        def bulk() -> None:
            result = SendResult()
            path.appender.append_many(
                result, TOPIC, iter([b"x", None, "bad", bytearray(b"y")] * 5), 100, ENDLESS
            )

        once: dict[str, Callable[[], object]] = {
            "plain": lambda: path.append(TOPIC, b"value", key=b"key"),
            "headers": lambda: path.append(TOPIC, b"value", headers=[("h", b"1")] * 20),
            "mapping": lambda: path.append(TOPIC, b"value", headers={"a": b"1", "b": None}),
            "views": lambda: path.append(TOPIC, memoryview(b"value"), key=bytearray(b"key")),
            "invalid": lambda: path.append(
                TOPIC, bytearray(b"x"), headers=[("h", bytearray(b"x")), ("h", 5)]
            ),  # type: ignore[list-item]
            "large": lambda: path.append(TOPIC, bytes(10_000)),
            "full": lambda: filler.append(TOPIC, bytes(900), headers=[("h", bytearray(9))] * 9),
            "unknown": lambda: path.append("unknown", b"x", key=bytearray(b"x")),
            "bulk": bulk,
        }
        expected = (RecordValidationError, RecordTooLargeError, BufferFullError, MetadataNotReadyError)

        def some(times: int) -> int:
            for _ in range(times):
                with suppress(*expected):
                    once[kind]()
                for batch in path.take_all():
                    path.finish(batch)
                path.opened.clear()
                path.sealed.clear()
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            some(300)
            before = some(300)
            assert some(2000) - before < 4000
        finally:
            tracemalloc.stop()
        assert path.appender.available == path.appender.buffer_memory
