"""The default partitioner: Java's choice for keys, each partition in turn without one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka.partitioners import DefaultPartitioner, Partitioner


def murmur2_of_kafka(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 (org.apache.kafka.common.utils.Utils), unsigned, written from the algorithm."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    state = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * factor & mask
        mixed = (mixed ^ mixed >> 24) * factor & mask
        state = state * factor & mask ^ mixed
    if tail := data[whole:]:
        state = (state ^ int.from_bytes(tail, "little")) * factor & mask
    state = (state ^ state >> 13) * factor & mask
    return state ^ state >> 15


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
def test_a_key_goes_where_java_sends_it(key: bytes, expected: int, count: int) -> None:
    assert DefaultPartitioner().partition("orders", key, count) == (expected & 0x7FFFFFFF) % count


def test_partitions_of_known_keys() -> None:
    partitioner = DefaultPartitioner()
    assert partitioner.partition("orders", b"key", 3) == 1
    assert partitioner.partition("orders", b"user-123", 3) == 2


@given(st.binary(max_size=70), st.integers(1, 2**31 - 1))
def test_any_key_agrees_with_the_algorithm(key: bytes, count: int) -> None:
    assert DefaultPartitioner().partition("t", key, count) == (murmur2_of_kafka(key) & 0x7FFFFFFF) % count


def test_records_without_a_key_take_turns_topic_by_topic() -> None:
    partitioner = DefaultPartitioner()
    orders = []
    for _ in range(5):
        orders.append(partitioner.partition("orders", None, 3))
        assert partitioner.partition("other", None, 1) == 0
    assert orders == [0, 1, 2, 0, 1]


def test_an_empty_key_is_a_key() -> None:
    partitioner = DefaultPartitioner()
    assert {partitioner.partition("orders", b"", 7) for _ in range(7)} == {275646681 % 7}


@pytest.mark.parametrize("key", [None, b"key"])
def test_a_topic_without_partitions_is_refused(key: bytes | None) -> None:
    with pytest.raises(ValueError, match=r"'orders'.*got 0"):
        DefaultPartitioner().partition("orders", key, 0)


def test_two_defaults_are_the_same_configuration() -> None:
    first, second = DefaultPartitioner(), DefaultPartitioner()
    first.partition("orders", None, 3)
    assert first == second
    assert hash(first) == hash(second)
    assert first != object()
    assert repr(first) == "DefaultPartitioner()"
    assert isinstance(first, Partitioner)
