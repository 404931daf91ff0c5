"""Which partition the append path gives a record to, by the rules of the built-in partitioners and by asking others."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from append_path import ENDLESS, TOPIC, WALL_CLOCK, AppendPath
from golden.judge import many_keys, murmur2_digests, murmur2_vectors
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka._speedups.delivery import SendResult
from krafka._speedups.producer_record import ProducerRecord
from krafka._speedups.topic_buffer import SpreadRule, TopicBuffer
from krafka.errors import BufferFullError, MetadataNotReadyError, RecordValidationError
from krafka.partitioners import (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
    rule_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krafka._speedups.batch import PartitionBuffer

BUILT_IN = [
    DefaultPartitioner(),
    RoundRobinPartitioner(),
    StickyPartitioner(3),
    HashPartitioner(),
    UniformStickyPartitioner(),
    ConsistentRandomPartitioner(),
    Fnv1aPartitioner(),
]
STICKY = [StickyPartitioner(3), UniformStickyPartitioner()]
KEYED = [each for each in BUILT_IN if not isinstance(each, RoundRobinPartitioner)]
BY_KEY = pytest.mark.parametrize("partitioner", KEYED, ids=repr)
EACH = pytest.mark.parametrize("partitioner", BUILT_IN, ids=repr)
EACH_STICKY = pytest.mark.parametrize("partitioner", STICKY, ids=repr)

OVERHEAD = 61
VALUE = bytes(91)
"""A record of it takes 100 bytes, as long as its batch has no more than 64 records."""


def path_for(partitioner: Any, partitions: int = 4, **options: Any) -> AppendPath:
    return AppendPath(partitions=partitions, partitioner=partitioner, **options)


def places(path: AppendPath, times: int, **fields: Any) -> list[int]:
    return [path.append(TOPIC, b"", **fields).partition for _ in range(times)]


def let_lead(path: AppendPath, *numbers: int) -> None:
    path.topic.set_partitions(path.partitions, [path.partitions[number] for number in numbers])


class TestKeys:
    @pytest.mark.parametrize("partitioner", [DefaultPartitioner(), *STICKY], ids=repr)
    def test_javas_keys_for_every_partition_count(self, partitioner: Any) -> None:
        path = path_for(partitioner, 64, batch_size=1 << 20, buffer_memory=1 << 28)
        for count in range(1, 65):
            path.topic.set_partitions(path.partitions[:count], path.partitions[:count])
            for key, digest, *_ in murmur2_vectors():
                assert path.append(TOPIC, None, key=key).partition == (digest & 0x7FFFFFFF) % count

    def test_javas_partitions_of_many_more_keys_for_every_partition_count(self) -> None:
        keys = list(many_keys())
        digests = murmur2_digests()[1]
        assert list(digests) == list(range(1, 65))
        for count, digest in digests.items():
            append = path_for(DefaultPartitioner(), count, batch_size=1 << 20, buffer_memory=1 << 27).append
            placed = bytes([append(TOPIC, None, key=key).partition for key in keys])
            assert sha256(placed).hexdigest() == digest, f"of {count}"

    @BY_KEY
    @settings(deadline=None)
    @given(key=st.binary(min_size=1, max_size=70), count=st.integers(1, 40))
    def test_a_key_goes_where_the_partitioner_itself_says(
        self, partitioner: Any, key: bytes, count: int
    ) -> None:
        path = path_for(partitioner, count, buffer_memory=1 << 22)
        expected = partitioner.partition(TOPIC, key, count)
        for each in (key, bytearray(key), memoryview(key)):
            assert path.append(TOPIC, b"", key=each).partition == expected

    @BY_KEY
    def test_a_key_keeps_its_partition_when_that_has_no_leader(self, partitioner: Any) -> None:
        path = path_for(partitioner)
        before = path.append(TOPIC, b"", key=b"key").partition
        let_lead(path, *({0, 1, 2, 3} - {before}))
        assert path.append(TOPIC, b"", key=b"key").partition == before

    @EACH
    def test_a_partition_that_is_named_overrules_it(self, partitioner: Any) -> None:
        path = path_for(partitioner)
        assert set(places(path, 20, key=b"key", partition=2)) == {2}
        with pytest.raises(MetadataNotReadyError, match="has 4 partitions as far as is known"):
            path.append(TOPIC, b"", partition=4)

    def test_round_robin_ignores_keys(self) -> None:
        assert places(path_for(RoundRobinPartitioner(), 3), 5, key=b"key") == [0, 1, 2, 0, 1]

    @pytest.mark.parametrize("partitioner", [DefaultPartitioner(), *STICKY, Fnv1aPartitioner()], ids=repr)
    def test_an_empty_key_is_a_key(self, partitioner: Any) -> None:
        path = path_for(partitioner, 7)
        assert set(places(path, 30, key=b"")) == {partitioner.partition(TOPIC, b"", 7)}

    @pytest.mark.parametrize("fields", [{}, {"key": b""}])
    def test_without_a_key_to_hash_it_is_the_first_partition(self, fields: dict[str, Any]) -> None:
        path = path_for(HashPartitioner())
        let_lead(path, 1, 2)
        assert set(places(path, 20, **fields)) == {0}

    @EACH
    def test_a_topic_whose_partitions_are_not_set_has_to_wait(self, partitioner: Any) -> None:
        path = path_for(None)
        path.appender.topics["new"] = TopicBuffer("new", rule_of(partitioner))
        for fields in ({}, {"key": b"k"}, {"partition": 0}):
            with pytest.raises(MetadataNotReadyError, match="'new' are not known yet"):
                path.append("new", b"", **fields)  # type: ignore[arg-type]

    def test_a_rule_is_made_of_known_parts(self) -> None:
        with pytest.raises(ValueError, match="no hash 'md5'"):
            SpreadRule("md5", "in turn")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="cannot go 'astray'"):
            SpreadRule("crc32", "astray")  # type: ignore[arg-type]


class TestInTurn:
    @pytest.mark.parametrize("partitioner", [DefaultPartitioner(), RoundRobinPartitioner()], ids=repr)
    def test_partitions_without_a_leader_are_left_out(self, partitioner: Any) -> None:
        path = path_for(partitioner, 3)
        let_lead(path, 1, 2)
        assert places(path, 4) == [1, 2, 1, 2]
        let_lead(path)
        assert set(places(path, 6)) == {0, 1, 2}


class TestAtRandom:
    @pytest.mark.parametrize(
        ("partitioner", "key"),
        [
            (ConsistentRandomPartitioner(), None),
            (ConsistentRandomPartitioner(), b""),
            (Fnv1aPartitioner(), None),
        ],
    )
    def test_every_partition_with_a_leader_gets_its_share(self, partitioner: Any, key: bytes | None) -> None:
        path = path_for(partitioner, 8, seed=4711, batch_size=1 << 18, buffer_memory=1 << 24)
        let_lead(path, 0, 2, 3, 5, 7)
        drawn = Counter(places(path, 10_000, key=key))
        assert set(drawn) == {0, 2, 3, 5, 7}
        assert all(1850 < times < 2150 for times in drawn.values())

    def test_another_seed_is_another_chance(self) -> None:
        first, same, other = (
            places(path_for(Fnv1aPartitioner(), seed=seed), 50) for seed in (1, 1, 2**64 - 1)
        )
        assert first == same != other


class TestStayingForRecords:
    def test_it_stays_for_its_threshold_and_goes_on_in_turn(self) -> None:
        path = path_for(StickyPartitioner(3), 3)
        assert places(path, 10) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]

    def test_keys_and_named_partitions_do_not_count(self) -> None:
        path = path_for(StickyPartitioner(2), 3)
        for expected in (0, 0, 1, 1, 2):
            assert path.append(TOPIC, b"").partition == expected
            places(path, 3, key=b"key")
            places(path, 3, partition=0)

    def test_what_found_no_room_does_not_count(self) -> None:
        path = path_for(StickyPartitioner(2), 2, batch_size=1000)
        path.append(TOPIC, bytes(800))
        path.appender.contended = True
        for _ in range(5):
            with pytest.raises(BufferFullError):
                path.append(TOPIC, bytes(900))
        path.appender.contended = False
        assert [path.append(TOPIC, b"").partition for _ in range(3)] == [0, 1, 1]

    def test_a_partition_that_loses_its_leader_is_left_at_once(self) -> None:
        path = path_for(StickyPartitioner(100), 3)
        assert set(places(path, 5)) == {0}
        let_lead(path, 1, 2)
        assert places(path, 101) == [2] * 100 + [1]
        let_lead(path, 0, 1, 2)
        assert set(places(path, 99)) == {1}

    def test_it_stays_when_other_partitions_change(self) -> None:
        path = path_for(StickyPartitioner(100), 3)
        places(path, 101)
        let_lead(path, 1)
        let_lead(path, 0, 1)
        assert places(path, 100) == [1] * 99 + [0]

    def test_it_leaves_a_partition_whatever_moved_meanwhile(self) -> None:
        path = path_for(StickyPartitioner(2), 3)
        assert places(path, 4) == [0, 0, 1, 1]
        let_lead(path, 1, 2)
        assert places(path, 1) == [2]


class TestStayingForBytes:
    def test_every_batch_is_full_before_the_next_is_begun(self) -> None:
        path = path_for(UniformStickyPartitioner(), 4, seed=1, batch_size=1000 + OVERHEAD)
        went = [path.append(TOPIC, VALUE).partition for _ in range(1000)]
        assert {len(list(run)) % 10 for _, run in groupby(went)} == {0}
        batches = path.take_all()
        assert [batch.record_count for batch in batches] == [10] * 100
        # A batch is closed by the record that goes elsewhere; only the last one is still open.
        assert len(path.sealed) == 99
        assert all(15 <= times <= 35 for times in Counter(b.partition.partition for b in batches).values())

    def test_batches_that_leave_early_count_by_their_bytes(self) -> None:
        path = path_for(UniformStickyPartitioner(), 50, seed=1, batch_size=1000 + OVERHEAD)
        went = []
        for _ in range(300):
            went.append(path.append(TOPIC, VALUE).partition)
            path.take_all()
        runs = [len(list(run)) for _, run in groupby(went)]
        assert set(runs[:-1]) <= {10, 20}
        assert len(set(went)) > 10

    def test_it_leaves_after_two_batches_where_keys_keep_a_batch_from_being_full(self) -> None:
        path = path_for(UniformStickyPartitioner(), 200, seed=3, batch_size=1000 + OVERHEAD)
        went = [path.append(TOPIC, VALUE).partition for _ in range(5)]
        at = went[0]
        while went[-1] == at:
            # Somebody else's records fill the batch, and a new one is open whenever the next comes.
            path.partitions[at].take_open()
            path.append(TOPIC, VALUE, partition=at)
            went.append(path.append(TOPIC, VALUE).partition)
        assert went == [at] * 20 + [went[-1]]

    def test_a_record_larger_than_a_batch_has_one_of_its_own_and_the_next_goes_on(self) -> None:
        path = path_for(UniformStickyPartitioner(), 100, seed=2, batch_size=1000)
        went = [path.append(TOPIC, bytes(5000)).partition for _ in range(6)]
        assert len(set(went)) > 3
        assert [batch.record_count for batch in path.take_all()] == [1] * 6

    def test_what_a_compressing_partition_holds_more_is_a_batch_too(self) -> None:
        path = path_for(UniformStickyPartitioner(), 2, seed=1, batch_size=1000 + OVERHEAD)
        for partition in path.partitions:
            path.appender.note_compressed(partition, 1000, 500, 1 << 19)
        for _ in range(200):
            path.append(TOPIC, VALUE)
        assert {batch.record_count for batch in path.take_all()} == {20}

    def test_the_next_is_the_likelier_the_less_waits_for_its_leader(self) -> None:
        asked = []

        def loads(partitions: list[PartitionBuffer]) -> list[int]:
            asked.append([partition.partition for partition in partitions])
            return [9, 0, 5, 9][: len(partitions)]

        path = path_for(
            UniformStickyPartitioner(),
            4,
            seed=7,
            loads=loads,
            batch_size=1000 + OVERHEAD,
            buffer_memory=1 << 24,
        )
        batches = Counter(path.append(TOPIC, bytes(985)).partition for _ in range(1700))
        assert asked[:2] == [[0, 1, 2, 3]] * 2
        # Weights of 1, 10, 5 and 1.
        assert 60 < batches[0] < 145
        assert 60 < batches[3] < 145
        assert 930 < batches[1] < 1070
        assert 430 < batches[2] < 570

    def test_who_leads_alone_is_not_asked_about(self) -> None:
        def loads(_partitions: list[PartitionBuffer]) -> list[int]:
            raise AssertionError

        path = path_for(UniformStickyPartitioner(), 3, loads=loads)
        let_lead(path, 2)
        assert set(places(path, 50)) == {2}

    def test_what_goes_wrong_in_asking_comes_to_light(self) -> None:
        def loads(_partitions: list[PartitionBuffer]) -> list[int]:
            raise ZeroDivisionError

        path = path_for(UniformStickyPartitioner(), 3, loads=loads)
        with pytest.raises(ZeroDivisionError):
            path.append(TOPIC, b"")

    def test_a_partition_that_loses_its_leader_is_left_at_once(self) -> None:
        path = path_for(UniformStickyPartitioner(), 3)
        (at,) = set(places(path, 5))
        others = {0, 1, 2} - {at}
        let_lead(path, *others)
        assert set(places(path, 20)) <= others


LAYOUTS = st.lists(
    st.tuples(
        st.integers(1, 6),  # how many partitions there are
        st.sets(st.integers(0, 5)),  # which of them have a leader
        st.lists(st.sampled_from([0, 1, 90, 400, 1500]), max_size=12),  # the sizes of records that come then
        st.booleans(),  # whether the batches are sent before things change
    ),
    max_size=15,
)


@pytest.mark.parametrize(
    "partitioner",
    [each for each in BUILT_IN if not isinstance(each, HashPartitioner)],
    ids=repr,
)
@settings(max_examples=100, deadline=None)
@given(layouts=LAYOUTS, seed=st.integers(0, 2**64 - 1))
def test_no_record_without_a_key_goes_where_nobody_leads_while_somebody_leads_elsewhere(
    partitioner: Any, layouts: list[tuple[int, set[int], list[int], bool]], seed: int
) -> None:
    path = path_for(partitioner, 6, seed=seed, batch_size=500, buffer_memory=1 << 22)
    for count, leading, sizes, sent in layouts:
        available = [path.partitions[number] for number in sorted(leading) if number < count]
        path.topic.set_partitions(path.partitions[:count], available)
        allowed = {partition.partition for partition in available or path.partitions[:count]}
        for size in sizes:
            assert path.append(TOPIC, bytes(size)).partition in allowed
        if sent:
            for batch in path.take_all():
                path.finish(batch)


@EACH
def test_bulk_goes_where_single_records_would(partitioner: Any) -> None:
    values: list[Any] = [bytes(number % 200) for number in range(500)]
    single, bulk = (
        path_for(partitioner, 5, seed=9, batch_size=2000, buffer_memory=1 << 24) for _ in range(2)
    )
    for value in values:
        single.append(TOPIC, value)
    result = SendResult()
    assert bulk.appender.append_many(result, TOPIC, iter(values), 1000, ENDLESS) == (True, None, None)
    assert [(b.partition.partition, bytes(b.records)) for b in bulk.take_all()] == [
        (b.partition.partition, bytes(b.records)) for b in single.take_all()
    ]
    assert bulk.topic.appended == single.topic.appended == 500


@EACH
def test_records_in_bulk_go_where_single_ones_would(partitioner: Any) -> None:
    records = [
        ProducerRecord(
            TOPIC,
            bytes(number % 200),
            key=b"key %d" % number if number % 3 else None,
            headers=[("h", b"x")] if number % 5 == 0 else (),
            partition=1 if number % 7 == 0 else None,
        )
        for number in range(500)
    ]
    single, bulk = (
        path_for(partitioner, 5, seed=9, batch_size=2000, buffer_memory=1 << 24) for _ in range(2)
    )
    for record in records:
        single.append(TOPIC, record.value, key=record.key, headers=record.headers, partition=record.partition)
    assert bulk.appender.append_records(SendResult(), iter(records), 1000, ENDLESS) == (True, None, None)
    assert [(b.partition.partition, bytes(b.records)) for b in bulk.take_all()] == [
        (b.partition.partition, bytes(b.records)) for b in single.take_all()
    ]


class ByRecord:
    """A partitioner that is shown the records, and answers as told."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[tuple[ProducerRecord, Sequence[int], int]] = []

    def partition_record(self, record: ProducerRecord, available: Sequence[int], partition_count: int) -> Any:
        self.asked.append((record, available, partition_count))
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


class TestRecordPartitioner:
    def test_it_is_shown_the_record_and_who_leads(self) -> None:
        chooser = ByRecord(1)
        path = path_for(chooser, 3)
        let_lead(path, 0, 2)
        headers = [("h", b"x")]
        path.append(TOPIC, b"v", key=b"k", headers=headers, timestamp=5)
        path.append(TOPIC, None)
        path.append(TOPIC, b"named", partition=2)
        let_lead(path)
        path.append(TOPIC, bytearray(b"v"))
        assert chooser.asked == [
            (ProducerRecord(TOPIC, b"v", key=b"k", headers=headers, timestamp=5), (0, 2), 3),
            (ProducerRecord(TOPIC), (0, 2), 3),
            (ProducerRecord(TOPIC, bytearray(b"v")), (0, 1, 2), 3),
        ]
        assert {batch.partition.partition for batch in path.take_all()} == {1, 2}

    def test_records_in_bulk_are_shown_too(self) -> None:
        chooser = ByRecord(1)
        path = path_for(chooser, 3)
        path.appender.append_many(SendResult(), TOPIC, iter([b"a", None, bytearray(b"c")]), 10, ENDLESS)
        assert [record.value for record, *_ in chooser.asked] == [b"a", None, b"c"]

    def test_it_comes_before_the_other_method(self) -> None:
        class Both(ByRecord):
            def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
                raise AssertionError

        assert places(path_for(Both(2), 3), 2) == [2, 2]

    @pytest.mark.parametrize("answer", [-1, 3, None, "1", True, 1.0, 2**70])
    def test_an_answer_out_of_range_fails_that_record(self, answer: Any) -> None:
        path = path_for(ByRecord(answer), 3)
        with pytest.raises(
            RecordValidationError, match=r"partitioner ByRecord answered .* partitions 0 to 2"
        ):
            path.append(TOPIC, b"")
        assert path.opened == []

    def test_an_exception_fails_that_record_and_is_its_cause(self) -> None:
        bug = ZeroDivisionError("a bug")
        path = path_for(ByRecord(bug), 3)
        with pytest.raises(RecordValidationError, match=r"ByRecord failed .* a bug") as caught:
            path.append(TOPIC, b"")
        assert caught.value.__cause__ is bug
        result = SendResult()
        path.appender.append_many(result, TOPIC, iter([b"a", b"b"]), 10, ENDLESS)
        assert [index for index, _ in result.failed] == [0, 1]

    def test_an_invalid_record_is_refused_before_it_is_shown(self) -> None:
        chooser = ByRecord(0)
        path = path_for(chooser, 3)
        for fields in ({"value": "text"}, {"key": 5}, {"headers": [("h", 1)]}, {"timestamp": -1}):
            with pytest.raises(RecordValidationError):
                path.append(TOPIC, **fields)  # type: ignore[arg-type]
        assert chooser.asked == []

    def test_what_it_does_to_the_record_changes_nothing(self) -> None:
        class Meddler:
            def partition_record(
                self, record: ProducerRecord, available: Sequence[int], partition_count: int
            ) -> int:
                record.value = b"other"
                record.partition = 2
                return 0

        path = path_for(Meddler(), 3)
        path.append(TOPIC, b"value", timestamp=WALL_CLOCK)
        (batch,) = path.take_all()
        assert batch.partition.partition == 0
        assert b"value" in bytes(batch.records)


def test_a_subclass_of_a_built_in_one_is_asked() -> None:
    class Last(StickyPartitioner):
        def partition(self, topic: str, key: bytes | None, partition_count: int) -> int:
            return partition_count - 1

    assert rule_of(Last()) is None
    assert set(places(path_for(Last(), 3), 5)) == {2}
