"""Records that move to other batches: the bytes are as if they had been put there first, and each has its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest
from append_path import ENDLESS, TOPIC, WALL_CLOCK, AppendPath
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.record_batch import encode_records
from test_record_batch import filled, plain, records

from krafka._speedups.delivery import SendResult
from krafka._speedups.record_batch import RecordBuffer, RecordCursor
from krafka.errors import InvalidRecordError, KafkaError, ProducerStateError, UnknownKafkaError

if TYPE_CHECKING:
    from krafka._speedups.batch import ProducerBatch
    from krafka._speedups.delivery import Delivery

SOMETIMES = settings(max_examples=150, deadline=None)


class TestCursor:
    @SOMETIMES
    @given(records, st.integers(1, 2000))
    def test_parts_have_the_bytes_of_records_put_there_first(self, each: list[Any], limit: int) -> None:
        cursor = RecordCursor(filled(*each))
        parts: list[RecordBuffer] = []
        done = 0
        while cursor.index < len(each):
            part = RecordBuffer()
            moved = cursor.move(part, len(each), limit)
            expected = [plain(*record) for record in each[done : done + moved]]
            assert bytes(part) == encode_records(expected)
            assert part.count == moved
            assert part.base_timestamp == expected[0].timestamp
            assert part.max_timestamp == max(record.timestamp for record in expected)
            assert part.used <= limit or part.count == 1
            done += moved
            parts.append(part)
        assert done == len(each)
        assert cursor.move(RecordBuffer(), 1, limit) == 0

    @SOMETIMES
    @given(records, st.data())
    def test_records_that_are_skipped_are_left_out(self, each: list[Any], data: st.DataObject) -> None:
        kept = data.draw(st.lists(st.booleans(), min_size=len(each), max_size=len(each)))
        cursor = RecordCursor(filled(*each))
        part = RecordBuffer()
        for keep in kept:
            if keep:
                assert cursor.move(part, 1, 1 << 30) == 1
            else:
                cursor.skip(1)
        left = [plain(*record) for record, keep in zip(each, kept, strict=True) if keep]
        assert bytes(part) == (encode_records(left) if left else b"")

    def test_no_more_is_skipped_than_there_is(self) -> None:
        cursor = RecordCursor(filled((0, None, b"a", ()), (0, None, b"b", ())))
        cursor.skip(5)
        assert cursor.index == 2

    def test_a_part_with_room_takes_no_more_than_asked(self) -> None:
        cursor = RecordCursor(filled(*[(0, None, b"v", ())] * 5))
        part = RecordBuffer()
        assert cursor.move(part, 2, 1 << 20) == 2
        assert cursor.move(part, 2, 1 << 20) == 2
        assert part.count == 4


def one_batch(count: int) -> tuple[ProducerBatch, list[Delivery]]:
    path = AppendPath(batch_size=1 << 20)
    deliveries = [path.append(TOPIC, b"%d" % n * (n % 7 + 1), timestamp=WALL_CLOCK + n) for n in range(count)]
    (batch,) = path.take_all()
    return batch, deliveries


class TestBatch:
    def test_parts_share_what_the_whole_had(self) -> None:
        batch, _ = one_batch(100)
        charge = batch.charge
        batch.attempts = 3
        batch.last_error = UnknownKafkaError("x")
        size = len(batch.records)
        parts = batch.divide(size // 3)
        assert len(parts) >= 3
        assert batch.charge == 0
        assert sum(part.charge for part in parts) == charge
        assert all(part.charge > 0 for part in parts)
        assert sum(part.record_count for part in parts) == batch.record_count == 100
        for part in parts:
            assert (part.created, part.deadline, part.attempts) == (batch.created, batch.deadline, 2)
            assert part.last_error is batch.last_error
            assert part.base_sequence == -1
            assert len(part.records) <= size // 3

    def test_the_rest_has_what_the_whole_had(self) -> None:
        batch, _ = one_batch(10)
        charge = batch.charge
        batch.attempts = 3
        assert charge > len(batch.records)
        rest = batch.without({2: InvalidRecordError("x")})
        assert rest is not None
        assert (batch.charge, rest.charge) == (0, charge)
        assert (rest.created, rest.deadline, rest.attempts) == (batch.created, batch.deadline, 2)

    @SOMETIMES
    @given(st.integers(1, 40), st.data())
    def test_each_record_keeps_its_outcome(self, count: int, data: st.DataObject) -> None:
        """Divide and sift batches at random, end each of the last ones somehow, and ask every delivery."""
        batch, deliveries = one_batch(count)
        expected: dict[bytes, Any] = {}
        work: list[tuple[ProducerBatch, list[int]]] = [(batch, list(range(count)))]
        offset = 0
        while work:
            batch, numbers = work.pop(data.draw(st.integers(0, len(work) - 1)))
            assert batch.record_count == len(numbers)
            what = data.draw(st.sampled_from(["divide", "without", "complete", "fail"]))
            if what == "divide" and len(numbers) > 1:
                at = 0
                for part in batch.divide(max(len(batch.records) // 2, 1)):
                    work.append((part, numbers[at : at + part.record_count]))
                    at += part.record_count
                assert at == len(numbers)
            elif what == "without":
                chosen = data.draw(st.sets(st.sampled_from(range(len(numbers))), max_size=len(numbers) - 1))
                errors: dict[int, KafkaError] = {at: InvalidRecordError(f"{numbers[at]}") for at in chosen}
                if errors:
                    rest = batch.without(errors)
                    assert rest is not None
                    work.append((rest, [number for at, number in enumerate(numbers) if at not in chosen]))
                    expected.update({numbers[at]: errors[at] for at in chosen})
                    continue
                work.append((batch, numbers))
            elif what == "complete":
                batch.complete(offset, -1)
                expected.update({number: offset + at for at, number in enumerate(numbers)})
                offset += len(numbers)
            else:
                error = UnknownKafkaError(f"{len(expected)}")
                batch.fail(error)
                expected.update(dict.fromkeys(numbers, error))
            for number, delivery in enumerate(deliveries):
                assert delivery.done == (number in expected)
        for number, delivery in enumerate(deliveries):
            assert delivery.done
            outcome = expected[number]
            if isinstance(outcome, int):
                assert delivery.exception is None
                assert delivery.metadata is not None
                assert (delivery.metadata.offset, delivery.metadata.timestamp) == (
                    outcome,
                    WALL_CLOCK + number,
                )
            else:
                assert delivery.exception is outcome
                assert delivery.metadata is None

    def test_the_whole_is_done_with_its_last_part(self) -> None:
        batch, _ = one_batch(30)
        first, *others = batch.divide(len(batch.records) // 2)
        smaller = first.divide(len(first.records) // 2)
        for part in [*others, *smaller[:-1]]:
            part.complete(0, -1)
            assert not batch.done
        smaller[-1].complete(0, -1)
        assert first.done
        assert batch.done
        assert batch.error is None

    def test_a_failed_part_shows_in_the_whole(self) -> None:
        batch, _ = one_batch(30)
        error = UnknownKafkaError("x")
        parts = batch.divide(len(batch.records) // 2)
        parts[1].fail(error)
        for part in parts:
            if not part.done:
                part.complete(0, -1)
        assert batch.error is error

    def test_a_whole_that_gave_its_records_away_cannot_be_completed(self) -> None:
        batch, _ = one_batch(3)
        batch.divide(1)
        with pytest.raises(AssertionError):
            batch.complete(0, -1)

    def test_a_batch_of_nothing_but_culprits_stays_whole(self) -> None:
        batch, deliveries = one_batch(2)
        errors: dict[int, KafkaError] = {0: InvalidRecordError("a"), 1: InvalidRecordError("b")}
        assert batch.without(errors) is None
        batch.fail(InvalidRecordError("c"), errors)
        assert [str(delivery.exception) for delivery in deliveries] == ["a", "b"]


@pytest.mark.anyio
class TestWaiting:
    async def test_a_caller_waits_for_its_own_part_only(self) -> None:
        batch, deliveries = one_batch(30)
        seen: list[int] = []

        async def wait(number: int) -> None:
            await deliveries[number]
            seen.append(number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 29)
            await anyio.wait_all_tasks_blocked()
            parts = batch.divide(len(batch.records) // 2)
            tasks.start_soon(wait, 0)
            await anyio.wait_all_tasks_blocked()
            assert seen == []
            parts[0].complete(0, -1)
            await anyio.wait_all_tasks_blocked()
            assert seen == [0]
            for part in parts[1:]:
                part.complete(0, -1)
        assert seen == [0, 29]

    async def test_culprits_hear_at_once(self) -> None:
        batch, deliveries = one_batch(3)
        heard: list[int] = []

        async def wait(number: int) -> None:
            with pytest.raises(InvalidRecordError):
                await deliveries[number]
            heard.append(number)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait, 1)
            await anyio.wait_all_tasks_blocked()
            rest = batch.without({1: InvalidRecordError("bad")})
            await anyio.wait_all_tasks_blocked()
            assert heard == [1]
            assert rest is not None
            rest.complete(0, -1)

    async def test_a_bulk_result_waits_for_all_parts(self) -> None:
        path = AppendPath(batch_size=1 << 20)
        result = SendResult()
        path.appender.append_many(result, TOPIC, iter([b"v" * 20] * 20), 20, ENDLESS)
        (batch,) = path.take_all()
        parts = batch.divide(len(batch.records) // 2)
        ended = False

        async def wait() -> None:
            nonlocal ended
            await result.wait()
            ended = True

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            parts[0].complete(0, -1)
            await anyio.wait_all_tasks_blocked()
            assert not ended
            assert result[0].offset == 0
            with pytest.raises(ProducerStateError, match="record 19 is not known yet"):
                result[19]
            for at, part in enumerate(parts[1:]):
                part.fail(UnknownKafkaError(f"{at}"))
        assert ended
        first = parts[0].record_count
        assert [index for index, _ in result.failed] == list(range(first, 20))
        assert result[0].offset == 0
