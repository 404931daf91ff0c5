"""The partitioners by themselves: where keys go, and what becomes of records without one."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from golden.judge import murmur2_vectors
from hypothesis import given
from hypothesis import strategies as st
from oracle import key_hashes as oracle

import krafka
from krafka.errors import ConfigError
from krafka.partitioners import (
    ConsistentRandomPartitioner,
    DefaultPartitioner,
    Fnv1aPartitioner,
    HashPartitioner,
    Partitioner,
    RecordPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    UniformStickyPartitioner,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

TOPIC = "orders"
EVERY_KIND: list[Callable[[], Partitioner]] = [
    DefaultPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
    HashPartitioner,
    UniformStickyPartitioner,
    ConsistentRandomPartitioner,
    Fnv1aPartitioner,
]
AS_JAVA: list[Callable[[], Partitioner]] = [DefaultPartitioner, StickyPartitioner, UniformStickyPartitioner]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(4711)


def answers(partitioner: Partitioner, times: int, count: int, key: bytes | None = None) -> list[int]:
    return [partitioner.partition(TOPIC, key, count) for _ in range(times)]


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", AS_JAVA)
@pytest.mark.parametrize(
    ("key", "expected"),
    [  # signed results of Java's Utils.murmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
        (b"", 275646681),
    ],
)
@pytest.mark.parametrize("count", [1, 3, 6, 1000, 2**31 - 1])
def test_a_key_goes_where_java_sends_it(
    make: Callable[[], Partitioner], key: bytes, expected: int, count: int
) -> None:
    assert make().partition("orders", key, count) == (expected & 0x7FFFFFFF) % count


@pytest.mark.parametrize("make", AS_JAVA)
def test_partitions_of_known_keys(make: Callable[[], Partitioner]) -> None:
    partitioner = make()
    assert partitioner.partition("orders", b"key", 3) == 1
    assert partitioner.partition("orders", b"user-123", 3) == 2


@pytest.mark.parametrize("count", range(1, 65))
def test_javas_keys_for_every_partition_count(count: int) -> None:
    partitioner = DefaultPartitioner()
    assert [partitioner.partition(TOPIC, key, count) for key, *_ in murmur2_vectors()] == [
        (digest & 0x7FFFFFFF) % count for _, digest, *_ in murmur2_vectors()
    ]


COUNTS = st.integers(1, 2**31 - 1)


@given(st.binary(max_size=70), COUNTS)
def test_any_key_goes_where_its_hash_says(key: bytes, count: int) -> None:
    by_murmur2 = (oracle.murmur2_of_kafka(key) & 0x7FFFFFFF) % count
    for make in AS_JAVA:
        assert make().partition(TOPIC, key, count) == by_murmur2
    assert Fnv1aPartitioner().partition(TOPIC, key, count) == oracle.fnv1a(key) % count
    hashed = oracle.siphash13_of_slice(key) % count if key else 0
    assert HashPartitioner().partition(TOPIC, key, count) == hashed


@pytest.mark.parametrize("count", [7, 17])
@pytest.mark.parametrize(
    ("make", "key", "hashed"),
    [  # librdkafka's own test of its partitioners has these
        (ConsistentRandomPartitioner, b"23456", 0xB1B451D7),
        (ConsistentRandomPartitioner, b"this is another string with more length to it perhaps", 0xB0150DF7),
        (ConsistentRandomPartitioner, b"hejsan", 0xD077037E),
        (DefaultPartitioner, b"", 0x106E08D9),
        (DefaultPartitioner, b"23456", 0x058D780F),
        (DefaultPartitioner, b"this is another string with more length to it perhaps", 0x4F7703DA),
        (DefaultPartitioner, b"hejsan", 0x5EC19395),
        (Fnv1aPartitioner, b"", 0x7EE3623B),
        (Fnv1aPartitioner, b"23456", 0x27E6F469),
        (Fnv1aPartitioner, b"this is another string with more length to it perhaps", 0x155E3E5F),
        (Fnv1aPartitioner, b"hejsan", 0x17B1E27A),
    ],
)
def test_keys_go_where_librdkafka_sends_them(
    make: Callable[[], Partitioner], key: bytes, hashed: int, count: int
) -> None:
    assert make().partition(TOPIC, key, count) == hashed % count


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"key", 0x2AB0DBC2BF550D79),
        (b"21", 0xF3DDFD340EB22498),
        (b"user-123", 0xF96418BFC5CECBFA),
        (b"12345678", 0x000582B7C2CBC5DF),
    ],
)
def test_hashed_keys_go_where_the_rust_client_sends_them(key: bytes, hashed: int) -> None:
    for count in (1, 3, 6, 1000, 2**31 - 1):
        assert HashPartitioner().partition(TOPIC, key, count) == hashed % count


@pytest.mark.parametrize("key", [None, b""])
def test_without_a_key_to_hash_it_is_the_first_partition(key: bytes | None) -> None:
    assert set(answers(HashPartitioner(), 50, 7, key)) == {0}


@pytest.mark.parametrize("make", [*AS_JAVA, Fnv1aPartitioner])
def test_an_empty_key_is_a_key(make: Callable[[], Partitioner]) -> None:
    assert len(set(answers(make(), 300, 7, b""))) == 1


# -- without a key -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [DefaultPartitioner, RoundRobinPartitioner])
def test_records_without_a_key_take_turns_topic_by_topic(make: Callable[[], Partitioner]) -> None:
    partitioner = make()
    orders = []
    for _ in range(5):
        orders.append(partitioner.partition("orders", None, 3))
        assert partitioner.partition("other", None, 1) == 0
    assert orders == [0, 1, 2, 0, 1]


def test_round_robin_ignores_keys() -> None:
    assert answers(RoundRobinPartitioner(), 5, 3, b"key") == [0, 1, 2, 0, 1]


def test_sticky_stays_for_its_threshold_topic_by_topic() -> None:
    partitioner = StickyPartitioner(batch_threshold=3)
    stays = []
    for _ in range(10):
        stays.append(partitioner.partition("orders", None, 3))
        assert partitioner.partition("other", None, 1) == 0
        assert partitioner.partition("orders", b"key", 3) == 1
    assert stays == [0, 0, 0, 1, 1, 1, 2, 2, 2, 0]


def test_sticky_stays_for_a_hundred_records() -> None:
    assert StickyPartitioner().batch_threshold == 100
    assert answers(StickyPartitioner(), 201, 3) == [0] * 100 + [1] * 100 + [2]


def test_a_threshold_may_be_given_in_two_ways() -> None:
    assert StickyPartitioner.with_batch_threshold(5) == StickyPartitioner(5)
    first = StickyPartitioner()
    assert first.with_batch_threshold(5) == StickyPartitioner(batch_threshold=5)
    assert first.batch_threshold == 100
    assert first != StickyPartitioner(5)
    assert len({StickyPartitioner(5), StickyPartitioner(5), StickyPartitioner(6)}) == 2


@pytest.mark.parametrize("threshold", [0, -1, 2**31, True, 1.5, "100", None])
def test_a_threshold_that_is_none_is_refused(threshold: Any) -> None:
    for make in (StickyPartitioner, StickyPartitioner.with_batch_threshold):
        with pytest.raises(ConfigError, match=r"^batch_threshold must be .* got ") as caught:
            make(threshold)
        assert caught.value.option == "partitioner"


def test_uniform_sticky_stays_for_a_hundred_records_where_sizes_are_not_told() -> None:
    stays = answers(UniformStickyPartitioner(), 1000, 50)
    assert [set(stays[at : at + 100]) for at in range(0, 1000, 100)] == [
        {stays[at]} for at in range(0, 1000, 100)
    ]
    assert len(set(stays)) > 5


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (ConsistentRandomPartitioner, None),
        (ConsistentRandomPartitioner, b""),
        (Fnv1aPartitioner, None),
    ],
)
def test_records_without_a_key_go_anywhere(make: Callable[[], Partitioner], key: bytes | None) -> None:
    drawn = Counter(answers(make(), 7000, 7, key))
    assert set(drawn) == set(range(7))
    assert all(850 < times < 1150 for times in drawn.values())


@pytest.mark.parametrize("make", EVERY_KIND)
@given(
    layout=st.lists(
        st.tuples(st.integers(1, 9), st.none() | st.binary(max_size=3), st.integers(1, 40)), max_size=20
    )
)
def test_it_stays_in_range_whatever_the_count_does(
    make: Callable[[], Partitioner], layout: list[tuple[int, bytes | None, int]]
) -> None:
    partitioner = make()
    for count, key, times in layout:
        assert all(0 <= answer < count for answer in answers(partitioner, times, count, key))


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", EVERY_KIND)
@pytest.mark.parametrize("key", [None, b"", b"key"])
def test_a_topic_without_partitions_is_refused(make: Callable[[], Partitioner], key: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"'orders'.*got 0"):
        make().partition("orders", key, 0)


@pytest.mark.parametrize("make", EVERY_KIND)
def test_two_of_a_kind_are_the_same_configuration(make: Callable[[], Partitioner]) -> None:
    first, second = make(), make()
    first.partition("orders", None, 3)
    assert first == second
    assert hash(first) == hash(second)
    assert first != object()
    assert isinstance(first, Partitioner)
    assert not isinstance(first, RecordPartitioner)
    assert eval(repr(first), vars(krafka)) == first


def test_different_kinds_are_different() -> None:
    assert len({make() for make in EVERY_KIND}) == len(EVERY_KIND)
    assert repr(DefaultPartitioner()) == "DefaultPartitioner()"
    assert repr(StickyPartitioner()) == "StickyPartitioner(batch_threshold=100)"


def test_what_is_shown_the_record_is_a_record_partitioner() -> None:
    class ByHeader:
        def partition_record(
            self, record: krafka.ProducerRecord, available: Sequence[int], partition_count: int
        ) -> int:
            return available[len(record.headers) % len(available)]

    assert isinstance(ByHeader(), RecordPartitioner)
    assert not isinstance(ByHeader(), Partitioner)
