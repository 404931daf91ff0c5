"""The append path: which batch a record lands in, what that costs, and what is refused."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from append_path import ENDLESS, TOPIC, WALL_CLOCK, AppendPath
from golden.judge import murmur2_vectors
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.record_batch import PlainRecord, encode_records

from krafka._speedups.batch import PartitionBuffer, ProducerBatch
from krafka._speedups.delivery import SendResult
from krafka._speedups.listed import ListedValues
from krafka._speedups.topic_buffer import TopicBuffer
from krafka.errors import (
    BufferFullError,
    InvalidRecordError,
    KafkaError,
    MetadataNotReadyError,
    ProducerClosedError,
    ProducerStateError,
    RecordTooLargeError,
    RecordValidationError,
)

OVERHEAD = 61


@pytest.fixture
def path() -> AppendPath:
    return AppendPath()


class TestBatches:
    def test_records_share_the_open_batch_in_order(self, path: AppendPath) -> None:
        path.append(TOPIC, b"one", key=b"k", headers=[("h", b"x")])
        path.append(TOPIC, None, timestamp=5)
        (batch,) = path.take_all()
        assert path.opened == [batch]
        assert path.sealed == []
        assert batch.record_count == 2
        assert bytes(batch.records) == encode_records(
            [PlainRecord(WALL_CLOCK, b"k", b"one", ((b"h", b"x"),)), PlainRecord(5, None, None)]
        )

    def test_a_batch_has_its_deadline_from_the_first_record(self, path: AppendPath) -> None:
        path.append(TOPIC, b"one")
        path.now += 10
        path.append(TOPIC, b"two")
        (batch,) = path.opened
        assert (batch.created, batch.deadline) == (100.0, 220.0)

    def test_a_batch_grows_to_its_limit_and_is_sealed_by_the_record_that_does_not_fit(self) -> None:
        path = AppendPath(batch_size=4096)
        for _ in range(40):
            path.append(TOPIC, bytes(100))
        first, second = path.take_all()
        assert path.sealed == [path.partition]
        assert first.records.used <= 4096 - OVERHEAD < first.records.used + 110
        assert first.records.capacity == first.charge == 4096 - OVERHEAD
        assert first.record_count + second.record_count == 40

    def test_a_full_batch_does_not_wait_for_another_record(self) -> None:
        path = AppendPath(batch_size=200)
        # Ten bytes go for the lengths and the header count of a record this size.
        path.append(TOPIC, bytes(200 - OVERHEAD))
        assert path.sealed == [path.partition]
        assert path.partition.open_batch is None
        assert len(path.partition.pending) == 1

    def test_a_record_larger_than_a_batch_has_one_of_its_own(self) -> None:
        path = AppendPath(batch_size=1000)
        path.append(TOPIC, b"before")
        large = path.append(TOPIC, bytes(50_000))
        after = path.append(TOPIC, b"after")
        batches = path.take_all()
        assert [batch.record_count for batch in batches] == [1, 1, 1]
        assert batches[1].charge == batches[1].records.used
        for offset, batch in enumerate(batches):
            batch.complete(offset, -1)
        assert large.metadata is not None
        assert after.metadata is not None
        assert (large.metadata.offset, after.metadata.offset) == (1, 2)

    def test_no_batch_exceeds_the_largest_request(self) -> None:
        path = AppendPath(batch_size=100_000, max_request_size=1000)
        for _ in range(30):
            path.append(TOPIC, bytes(300))
        assert all(batch.records.used + OVERHEAD <= 1000 for batch in path.take_all())

    def test_the_first_batch_starts_small_and_the_next_after_a_full_one_large(self) -> None:
        path = AppendPath(batch_size=16_384)
        path.append(TOPIC, b"x")
        assert path.opened[0].charge == 1024
        while len(path.opened) == 1:
            path.append(TOPIC, bytes(1000))
        assert path.opened[1].charge == 16_384 - OVERHEAD

    def test_after_a_batch_that_left_early_the_next_starts_smaller(self) -> None:
        path = AppendPath(batch_size=16_384)
        while len(path.opened) == 1 or not path.opened:
            path.append(TOPIC, bytes(1000))
        path.take_all()
        path.append(TOPIC, b"x")
        assert path.opened[-1].charge == 2 * path.opened[1].records.used

    def test_an_empty_partition_has_nothing_to_take(self, path: AppendPath) -> None:
        assert path.partition.take_open() is None

    @pytest.mark.parametrize(
        ("timestamp", "expected"),
        [(None, WALL_CLOCK), (0, 0), (2**63 - 1, 2**63 - 1), (datetime(1970, 1, 2, tzinfo=UTC), 86_400_000)],
    )
    def test_timestamps(self, path: AppendPath, timestamp: Any, expected: int) -> None:
        delivery = path.append(TOPIC, b"", timestamp=timestamp)
        path.opened[0].complete(0, -1)
        assert delivery.metadata is not None
        assert delivery.metadata.timestamp == expected

    def test_the_wall_clock_is_read_in_milliseconds(self) -> None:
        path = AppendPath()
        bare = type(path.appender)(
            batch_size=1000,
            buffer_memory=1000,
            max_request_size=1000,
            delivery_timeout=1.0,
            monotonic=lambda: 0.0,
            on_opened=path.opened.append,
            on_sealed=path.sealed.append,
        )
        bare.topics.update(path.appender.topics)
        before = int(datetime.now(UTC).timestamp() * 1000)
        bare.append(TOPIC, b"")
        after = int(datetime.now(UTC).timestamp() * 1000)
        # The coarse clock of the kernel may lag by one tick.
        assert before - 20 <= path.opened[0].records.base_timestamp <= after


class TestPartitions:
    def test_keyless_records_take_turns(self) -> None:
        path = AppendPath(partitions=3)
        assert [path.append(TOPIC, b"").partition for _ in range(7)] == [0, 1, 2, 0, 1, 2, 0]

    def test_keyless_records_avoid_partitions_without_a_leader(self) -> None:
        path = AppendPath(partitions=3)
        path.appender.topics[TOPIC].set_partitions(path.partitions, path.partitions[1:])
        assert [path.append(TOPIC, b"").partition for _ in range(4)] == [1, 2, 1, 2]
        path.appender.topics[TOPIC].set_partitions(path.partitions, [])
        assert {path.append(TOPIC, b"").partition for _ in range(6)} == {0, 1, 2}

    def test_turns_go_on_when_partitions_are_fewer(self) -> None:
        path = AppendPath(partitions=3)
        for _ in range(2):
            path.append(TOPIC, b"")
        path.appender.topics[TOPIC].set_partitions(path.partitions[:1], path.partitions[:1])
        assert path.append(TOPIC, b"").partition == 0

    def test_keys_go_where_java_sends_them(self) -> None:
        path = AppendPath(partitions=6)
        for key, _, of_six, _ in murmur2_vectors():
            assert path.append(TOPIC, b"", key=key).partition == of_six

    @pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
    def test_equal_keys_go_together_whatever_they_come_in(self, make: Any) -> None:
        path = AppendPath(partitions=7)
        assert (
            path.append(TOPIC, b"", key=make(b"key")).partition
            == path.append(TOPIC, b"", key=b"key").partition
        )

    def test_a_partition_may_be_named(self) -> None:
        path = AppendPath(partitions=3)
        assert path.append(TOPIC, b"", key=b"k", partition=2).partition == 2

    def test_a_partition_that_is_not_known_yet_has_to_wait(self, path: AppendPath) -> None:
        with pytest.raises(MetadataNotReadyError, match="has 1 partitions as far as is known"):
            path.append(TOPIC, b"", partition=1)

    @pytest.mark.parametrize("partition", [-1, 2**31, 2**40, 2**80, True, 1.0, "1"])
    def test_what_is_no_partition_is_refused(self, path: AppendPath, partition: Any) -> None:
        with pytest.raises(RecordValidationError, match="partition must be"):
            path.append(TOPIC, b"", partition=partition)

    def test_a_topic_has_partitions(self) -> None:
        with pytest.raises(ValueError, match="without partitions"):
            TopicBuffer(TOPIC).set_partitions([], [])

    def test_a_topic_whose_partitions_are_not_set_has_to_wait(self, path: AppendPath) -> None:
        path.appender.topics["new"] = TopicBuffer("new")
        for options in ({}, {"key": b"k"}, {"partition": 0}):
            with pytest.raises(MetadataNotReadyError):
                path.append("new", b"", **options)  # type: ignore[arg-type]

    def test_a_topic_that_was_dropped_has_to_wait(self, path: AppendPath) -> None:
        path.append(TOPIC, b"")
        assert path.appender.drop_topic(TOPIC) is path.topic
        with pytest.raises(MetadataNotReadyError):
            path.append(TOPIC, b"")
        path.appender.topics[TOPIC] = path.topic
        assert path.append(TOPIC, b"").topic == TOPIC

    def test_topics_in_turn_keep_to_their_own(self, path: AppendPath) -> None:
        other = TopicBuffer("other")
        other.set_partitions([PartitionBuffer("other", 0)], [PartitionBuffer("other", 0)])
        path.appender.topics["other"] = other
        topics = [TOPIC, TOPIC, "other", TOPIC, "other", "other"]
        assert [path.append(topic, b"").topic for topic in topics] == topics


class Chooser:
    """A partitioner that answers as told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[str, bytes | None, int]] = []

    def partition(self, topic: str, key: bytes | None, partition_count: int) -> Any:
        self.asked.append((topic, key, partition_count))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class TestCustomPartitioner:
    def test_it_is_asked_once_a_record_that_names_no_partition(self) -> None:
        chooser = Chooser(1)
        path = AppendPath(partitions=3, partitioner=chooser)
        assert path.append(TOPIC, b"", key=bytearray(b"k")).partition == 1
        assert path.append(TOPIC, b"").partition == 1
        assert path.append(TOPIC, b"", partition=2).partition == 2
        assert chooser.asked == [(TOPIC, b"k", 3), (TOPIC, None, 3)]
        assert type(chooser.asked[0][1]) is bytes

    @pytest.mark.parametrize("answer", [-1, 3, None, "1", True, 1.0, 2**70])
    def test_an_answer_out_of_range_fails_that_record(self, answer: Any) -> None:
        path = AppendPath(partitions=3, partitioner=Chooser(answer))
        with pytest.raises(RecordValidationError, match=r"partitioner Chooser answered .* partitions 0 to 2"):
            path.append(TOPIC, b"")
        assert path.opened == []

    def test_an_exception_fails_that_record_and_is_its_cause(self) -> None:
        bug = ZeroDivisionError("a bug")
        path = AppendPath(partitioner=Chooser(bug))
        with pytest.raises(RecordValidationError, match="ZeroDivisionError: a bug") as caught:
            path.append(TOPIC, b"")
        assert caught.value.__cause__ is bug

    def test_keyboard_interrupt_is_not_a_failure_of_the_record(self) -> None:
        path = AppendPath(partitioner=Chooser(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            path.append(TOPIC, b"")
        path.append(TOPIC, b"", partition=0)

    def test_it_may_append_itself(self) -> None:
        class Reentrant:
            def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
                path.append(TOPIC, b"inner", key=b"inner key", partition=0)
                return 0

        path = AppendPath(partitioner=Reentrant())
        path.append(TOPIC, b"outer", key=b"outer key")
        (batch,) = path.take_all()
        assert bytes(batch.records) == encode_records(
            [
                PlainRecord(WALL_CLOCK, b"inner key", b"inner"),
                PlainRecord(WALL_CLOCK, b"outer key", b"outer"),
            ]
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("record", "text"),
        [
            ({"value": "text"}, "value is str; encode it"),
            ({"value": 5}, "value must be bytes"),
            ({"value": memoryview(b"abcd")[::2]}, "not contiguous"),
            ({"key": "text"}, "key is str"),
            ({"headers": [("a", "text")]}, "header 0"),
            ({"headers": [["a", b""]]}, "header 0 must be a \\(name, value\\) tuple"),
            ({"headers": iter([("a", b"")])}, "headers must be a sequence"),
            ({"headers": [("\ud800", b"")]}, "not valid Unicode"),
            ({"headers": [("h", b"")] * 10_001}, "it has 10001 headers, krafka's limit is 10000"),
            ({"timestamp": -1}, "timestamp must be between"),
            ({"timestamp": 2**63}, "timestamp must be between"),
            ({"timestamp": True}, "timestamp must be int"),
            ({"timestamp": datetime(2020, 1, 1)}, "no time zone"),
            ({"topic": b"orders"}, "topic must be str"),
            ({"topic": ["orders"]}, "topic must be str"),
            ({"topic": ""}, "topic is empty"),
            ({"topic": "a b"}, "may have only ASCII letters"),
        ],
    )
    def test_a_record_that_cannot_be_sent_is_told_why(
        self, path: AppendPath, record: dict[str, Any], text: str
    ) -> None:
        arguments = {"topic": TOPIC, "value": b"", **record}
        with pytest.raises(RecordValidationError, match=text):
            path.append(arguments.pop("topic"), arguments.pop("value"), **arguments)
        assert path.opened == []
        assert path.appender.available == path.appender.buffer_memory

    def test_an_unknown_topic_has_to_wait(self, path: AppendPath) -> None:
        with pytest.raises(MetadataNotReadyError, match="the partitions of topic 'other' are not known yet"):
            path.append("other", b"")

    def test_what_is_wrong_with_a_record_counts_more_than_its_unknown_topic(self, path: AppendPath) -> None:
        with pytest.raises(RecordValidationError, match="partition must be"):
            path.append("other", b"", partition=-1)

    def test_a_record_larger_than_a_request(self) -> None:
        path = AppendPath(max_request_size=2000, batch_size=1000)
        with pytest.raises(RecordTooLargeError, match="max_request_size is 2000 bytes") as caught:
            path.append(TOPIC, bytes(2000))
        assert "orders-0" in str(caught.value)
        assert caught.value.code == 10
        assert path.appender.available == path.appender.buffer_memory

    def test_whether_a_record_is_too_large_does_not_depend_on_its_neighbours(self) -> None:
        def largest(neighbours: int) -> int:
            for size in range(1800, 2100):
                path = AppendPath(max_request_size=2000, batch_size=1 << 20)
                for _ in range(neighbours):
                    path.append(TOPIC, b"x")
                try:
                    path.append(TOPIC, bytes(size))
                except RecordTooLargeError:
                    return size - 1
            raise AssertionError

        assert largest(0) == largest(1) == largest(200)

    def test_a_record_larger_than_all_the_memory(self) -> None:
        path = AppendPath(buffer_memory=5000, batch_size=1000)
        with pytest.raises(RecordTooLargeError, match="more than all of this producer's buffer_memory"):
            path.append(TOPIC, bytes(6000))

    def test_a_closed_producer_refuses_with_the_same_error_each_time(self, path: AppendPath) -> None:
        path.appender.refuse_with(ProducerClosedError("closed"))
        depths = []
        for _ in range(3):
            with pytest.raises(ProducerClosedError, match="closed") as caught:
                path.append(TOPIC, b"")
            depths.append(len(caught.traceback))
        assert len(set(depths)) == 1
        path.appender.admit()
        path.append(TOPIC, b"")

    def test_a_record_with_a_grant_is_taken_while_the_producer_closes(self, path: AppendPath) -> None:
        path.appender.refuse_with(ProducerClosedError("closed"))
        delivery, left = path.appender.append_granted(TOPIC, b"x", None, None, None, None, 90.0, 500)
        assert left == 0
        assert not delivery.done

    def test_a_record_with_a_grant_is_refused_when_all_is_over(self, path: AppendPath) -> None:
        path.appender.refuse_with(ProducerClosedError("closed"), granted=True)
        with pytest.raises(ProducerClosedError, match="closed"):
            path.appender.append_granted(TOPIC, b"x", None, None, None, None, 90.0, 500)
        path.appender.admit()
        path.appender.append_granted(TOPIC, b"x", None, None, None, None, 90.0, 500)


class TestMemory:
    def test_a_full_buffer_says_who_is_in_the_way(self) -> None:
        path = AppendPath(batch_size=1000, buffer_memory=1000)
        path.append(TOPIC, bytes(900))
        with pytest.raises(
            BufferFullError, match=r"of 1000 bytes of buffer_memory are free and .* needed"
        ) as caught:
            path.append(TOPIC, bytes(900))
        assert 900 < caught.value.needed <= 1000
        path.appender.contended = True
        with pytest.raises(BufferFullError, match="others wait for them"):
            path.append(TOPIC, bytes(10))

    def test_a_batch_does_not_grow_past_the_free_memory(self) -> None:
        path = AppendPath(batch_size=16_384, buffer_memory=20_000)
        taken = 0
        with pytest.raises(BufferFullError):
            while True:
                path.append(TOPIC, bytes(500))
                taken += 1
        assert taken >= 30
        assert path.appender.available >= 0
        assert sum(batch.charge for batch in path.opened) == 20_000 - path.appender.available

    def test_a_batch_does_not_grow_while_others_wait(self, path: AppendPath) -> None:
        path.append(TOPIC, bytes(900))
        path.appender.contended = True
        with pytest.raises(BufferFullError):
            path.append(TOPIC, bytes(900))
        assert path.opened[0].charge == 1024

    def test_a_grant_is_used_for_a_new_batch_and_the_rest_comes_back(self, path: AppendPath) -> None:
        path.appender.contended = True
        free = path.appender.available
        _, left = path.appender.append_granted(TOPIC, b"x", None, None, None, None, 90.0, 5000)
        assert left == 5000 - path.opened[0].charge
        assert path.appender.available == free
        assert path.opened[0].deadline == 210.0

    def test_a_grant_comes_back_whole_when_there_is_room_in_a_batch(self, path: AppendPath) -> None:
        path.append(TOPIC, b"x")
        _, left = path.appender.append_granted(TOPIC, b"x", None, None, None, None, 99.0, 500)
        assert left == 500

    def test_a_record_that_waited_brings_its_batch_deadline_forward_and_says_so(
        self, path: AppendPath
    ) -> None:
        path.append(TOPIC, b"x")
        path.appender.append_granted(TOPIC, b"x", None, None, None, None, 40.0, 500)
        path.appender.append_granted(TOPIC, b"x", None, None, None, None, 50.0, 500)
        (batch,) = path.opened
        assert batch.deadline == 160.0
        assert path.hastened == [batch]

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, 2), st.sampled_from([0, 1, 100, 900, 3000, 9000]), st.booleans()),
            max_size=80,
        )
    )
    def test_every_byte_comes_back(self, steps: list[tuple[int, int, bool]]) -> None:
        path = AppendPath(partitions=3, batch_size=2000, buffer_memory=8000)
        for partition, size, drain in steps:
            with suppress(BufferFullError, RecordTooLargeError):
                path.append(TOPIC, bytes(size), partition=partition)
            held = sum(batch.charge for batch in path.opened if not batch.done)
            assert path.appender.available >= 0
            assert path.appender.available + held == 8000
            assert sum(b.records.capacity for b in path.opened if not b.done) <= held
            if drain:
                for batch in path.take_all():
                    path.finish(batch)
        for batch in path.take_all():
            path.finish(batch)
        assert path.appender.available == 8000


class TestWhoCalls:
    def in_thread(self, function: Any) -> list[BaseException]:
        caught: list[BaseException] = []

        def run() -> None:
            try:
                function()
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
        return caught

    def test_another_thread_may_not_open_a_batch(self, path: AppendPath) -> None:
        (error,) = self.in_thread(lambda: path.append(TOPIC, b""))
        assert isinstance(error, ProducerStateError)
        assert "anyio.from_thread.run" in str(error)
        assert path.opened == []
        assert path.appender.available == path.appender.buffer_memory

    def test_another_thread_may_not_seal_one(self) -> None:
        path = AppendPath(batch_size=1100)
        path.append(TOPIC, bytes(600))
        (error,) = self.in_thread(lambda: path.append(TOPIC, bytes(600)))
        assert isinstance(error, ProducerStateError)
        assert path.sealed == []

    def test_opening_it_anew_makes_the_thread_its_own(self, path: AppendPath) -> None:
        def adopt() -> None:
            path.appender.admit()
            path.append(TOPIC, b"")

        assert self.in_thread(adopt) == []
        with pytest.raises(ProducerStateError):
            path.appender.check_caller()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_process_is_told_to_open_its_own(self, path: AppendPath) -> None:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            told = b"nothing"
            try:
                path.append(TOPIC, b"")
            except ProducerStateError as error:
                told = str(error).encode()
            finally:
                os.write(writer, told)
                os._exit(0)
        os.close(writer)
        told = os.read(reader, 1000).decode()
        os.close(reader)
        os.waitpid(child, 0)
        assert f"opened in process {os.getpid()} and is used in process {child}" in told


class TestReentrancy:
    def test_a_header_mapping_may_append_itself(self, path: AppendPath) -> None:
        class Reentrant(dict[str, bytes]):
            def items(self) -> Any:
                path.append(TOPIC, bytearray(b"inner"), key=b"inner key", headers={"i": b"1"})
                return super().items()

        path.append(TOPIC, bytearray(b"outer"), key=b"outer key", headers=Reentrant(o=b"2"))
        path.append(TOPIC, b"after")
        (batch,) = path.take_all()
        assert bytes(batch.records) == encode_records(
            [
                PlainRecord(WALL_CLOCK, b"inner key", b"inner", ((b"i", b"1"),)),
                PlainRecord(WALL_CLOCK, b"outer key", b"outer", ((b"o", b"2"),)),
                PlainRecord(WALL_CLOCK, None, b"after"),
            ]
        )

    def test_a_header_mapping_that_fails_leaves_nothing_behind(self, path: AppendPath) -> None:
        class Broken(dict[str, bytes]):
            def items(self) -> Any:
                raise LookupError("broken")

        value = bytearray(b"v")
        with pytest.raises(RecordValidationError, match="LookupError: broken") as caught:
            path.append(TOPIC, value, headers=Broken(a=b""))
        assert isinstance(caught.value.__cause__, LookupError)
        value.extend(b"more")
        path.append(TOPIC, value)
        assert path.opened[0].record_count == 1


class TestBatchEnds:
    def test_a_batch_ends_once_and_keeps_its_first_outcome(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        (batch,) = path.opened
        batch.complete(5, -1)
        with pytest.raises(AssertionError, match="orders-0 was completed twice"):
            batch.fail(KafkaError("late"))
        with pytest.raises(AssertionError, match="completed twice"):
            batch.complete(9, 9)
        assert delivery.exception is None
        assert delivery.metadata == (TOPIC, 0, 5, WALL_CLOCK)

    def test_the_records_are_let_go_at_the_end(self, path: AppendPath) -> None:
        path.append(TOPIC, b"")
        (batch,) = path.opened
        batch.body = memoryview(batch.records)
        batch.fail(KafkaError("gone"))
        assert batch.records is None
        assert batch.body is None
        assert batch.record_count == 1

    def test_a_blamed_record_has_its_own_error(self, path: AppendPath) -> None:
        first, second = path.append(TOPIC, b""), path.append(TOPIC, b"")
        own = InvalidRecordError("record 1 is bad")
        path.opened[0].fail(InvalidRecordError("another record is bad"), {1: own})
        assert second.exception is own
        assert str(first.exception) == "another record is bad"

    def test_what_is_shown_names_partition_and_state(self, path: AppendPath) -> None:
        delivery = path.append(TOPIC, b"")
        (batch,) = path.opened
        assert repr(path.partition) == "orders-0"
        assert repr(delivery) == "<Delivery orders-0 pending>"
        assert "orders-0 records=1" in repr(batch)
        batch.complete(0, -1)
        assert repr(delivery) == "<Delivery orders-0 delivered>"
        assert "done=True" in repr(batch)

    def test_a_batch_belongs_to_a_partition(self) -> None:
        with pytest.raises(TypeError):
            ProducerBatch(None, 10, 0.0, 1.0)  # type: ignore[arg-type]
        assert ProducerBatch(PartitionBuffer(TOPIC, 3), 10, 0.0, 1.0).partition.partition == 3


def test_append_many_stops_at_what_has_to_wait() -> None:
    path = AppendPath(batch_size=1000, buffer_memory=2000)
    result = SendResult()
    values: list[Any] = [b"a", None, "text", bytes(500), bytes(900), bytes(901), b"z"]
    source = iter(values)
    ended, waiting, reason = path.appender.append_many(result, TOPIC, source, 100, ENDLESS)
    assert not ended
    assert isinstance(reason, BufferFullError)
    assert 2 < len(result) < 6
    assert waiting is values[len(result)]
    assert list(source) == values[len(result) + 1 :]
    assert [index for index, _ in result.failed] == [2]


def test_append_many_takes_no_more_than_asked() -> None:
    path = AppendPath()
    source = iter([b"x"] * 10)
    result = SendResult()
    assert path.appender.append_many(result, TOPIC, source, 4, ENDLESS) == (False, None, None)
    assert len(result) == 4
    assert path.appender.append_many(result, TOPIC, source, 100, ENDLESS) == (True, None, None)
    assert len(result) == 10


def test_append_many_takes_no_more_bytes_than_asked_and_a_record() -> None:
    path = AppendPath()
    source = iter([bytes(100)] * 10)
    result = SendResult()
    before = path.appender.appended_bytes
    assert path.appender.append_many(result, TOPIC, source, 100, 350) == (False, None, None)
    assert len(result) == 4
    assert 400 < path.appender.appended_bytes - before < 450
    assert len(list(source)) == 6


def test_append_many_hands_back_a_tombstone_that_has_to_wait() -> None:
    path = AppendPath()
    result = SendResult()
    ended, waiting, reason = path.appender.append_many(result, "unknown", iter([None, b"x"]), 10, ENDLESS)
    assert (ended, waiting, len(result)) == (False, None, 0)
    assert isinstance(reason, MetadataNotReadyError)


VALUES = st.one_of(
    st.binary(max_size=40),
    st.integers(0, 1200).map(bytes),
    st.sampled_from([None, bytearray(b"array"), memoryview(b"view"), "text", 5]),
)


@settings(max_examples=300)
@given(
    values=st.lists(VALUES, max_size=60),
    partitions=st.integers(1, 4),
    memory=st.sampled_from([4000, 1 << 20]),
    limits=st.lists(
        st.tuples(st.integers(1, 20), st.sampled_from([100, 2000, ENDLESS])), min_size=1, max_size=8
    ),
    as_tuple=st.booleans(),
)
def test_values_that_are_there_go_where_those_of_an_iterator_do(
    values: list[Any], partitions: int, memory: int, limits: list[tuple[int, int]], as_tuple: bool
) -> None:
    source = tuple(values) if as_tuple else values
    seen = []
    for iterator in (iter(source), ListedValues(source)):
        path = AppendPath(partitions=partitions, batch_size=1000, buffer_memory=memory)
        result = SendResult()
        told = []
        for limit, limit_bytes in limits:
            ended, waiting, reason = path.appender.append_many(result, TOPIC, iterator, limit, limit_bytes)
            told.append((ended, waiting, str(reason), len(result), path.appender.appended_bytes))
            if ended or reason is not None:
                break
            path.wall += 3
        refused = [index for index, _ in result.failed]
        written = []
        for number, batch in enumerate(path.take_all()):
            written.append((batch.records.max_timestamp, bytes(batch.records)))
            path.finish(batch, base_offset=number * 1000)
        lie = [result[at] for at in range(len(result)) if at not in refused]
        seen.append((told, list(iterator), refused, written, lie, path.topic.appended))
    assert seen[0] == seen[1]


def test_listed_values_follow_a_list_that_changes() -> None:
    path = AppendPath()
    values = [b"a", b"b", b"c"]
    listed = ListedValues(values)
    result = SendResult()
    assert path.appender.append_many(result, TOPIC, listed, 2, ENDLESS) == (False, None, None)
    values.append(b"d")
    assert path.appender.append_many(result, TOPIC, listed, 9, ENDLESS) == (True, None, None)
    assert len(result) == 4
    values.clear()
    assert path.appender.append_many(result, TOPIC, listed, 9, ENDLESS) == (True, None, None)
    assert len(result) == 4


@pytest.mark.parametrize("source", [iter([b"a"]), {b"a"}, b"a", type("Own", (list,), {})([b"a"]), None])
def test_only_lists_and_tuples_are_listed(source: Any) -> None:
    with pytest.raises(TypeError):
        ListedValues(source)


def test_a_listed_value_that_comes_too_late_for_its_batch_opens_another() -> None:
    path = AppendPath(partitions=2, batch_span=10.0)
    result = SendResult()
    path.appender.append_many(result, TOPIC, ListedValues([b"a", b"b"]), 9, ENDLESS)
    path.now += 10.5
    path.appender.append_many(result, TOPIC, ListedValues([b"c", b"d"]), 9, ENDLESS)
    assert [batch.record_count for batch in path.take_all()] == [1, 1, 1, 1]


def test_results_that_share_batches_know_each_their_own_records() -> None:
    path = AppendPath(partitions=2)
    results = [SendResult() for _ in range(3)]
    for result in results:
        path.appender.append_many(result, TOPIC, ListedValues([b"a"] * 4), 9, ENDLESS)
    for number, batch in enumerate(path.take_all()):
        path.finish(batch, base_offset=100 * number)
    assert [[metadata.offset for metadata in result] for result in results] == [
        [0, 100, 1, 101],
        [2, 102, 3, 103],
        [4, 104, 5, 105],
    ]


def test_listed_values_fill_a_batch_to_the_last_byte_and_no_further() -> None:
    for size in range(140):
        batches = []
        for iterator in (iter([bytes(size)] * 60), ListedValues([bytes(size)] * 60)):
            path = AppendPath(partitions=2, batch_size=1000)
            path.appender.append_many(SendResult(), TOPIC, iterator, 60, ENDLESS)
            batches.append([bytes(batch.records) for batch in path.take_all()])
        assert batches[0] == batches[1]
        assert max(map(len, batches[1])) <= 1000 - 61
