"""Encoding and decoding leave nothing behind, whether they succeed or fail half-way."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from krafka._wire.api_versions import ApiVersionsResponse
from krafka._wire.frames import decode_message, encode_message
from krafka._wire.metadata import MetadataResponse, MetadataResponsePartition, MetadataResponseTopic
from krafka._wire.produce import (
    ProduceRequest,
    ProduceRequestPartitionData,
    ProduceRequestTopicData,
    ProduceResponse,
)
from krafka.errors import ProtocolError

from .strategies import full

if TYPE_CHECKING:
    from collections.abc import Callable


def growth(action: Callable[[], Any]) -> int:
    """Bytes still held after many calls, less what the first ones set up for good."""
    for _ in range(20):
        action()
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(500):
            action()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("cls", "version"), [(MetadataResponse, 12), (ProduceRequest, 9), (ProduceResponse, 10)]
)
def test_nothing_is_left_behind(cls: Any, version: int) -> None:
    message = full(cls, version)
    encoded = b"".join(encode_message(message, version))

    def decode_what_is_cut() -> None:
        for size in range(0, len(encoded), 7):
            with suppress(ProtocolError):
                decode_message(cls, version, encoded[:size])

    def encode_what_is_wrong() -> None:
        with suppress(TypeError):
            encode_message(wrong, version)

    wrong = full(cls, version)
    last = cls.SCHEMA[-1].name if cls is not MetadataResponse else "topics"
    setattr(wrong, last, "not a list")
    for action in (
        lambda: decode_message(cls, version, encoded),
        lambda: encode_message(message, version),
        decode_what_is_cut,
        encode_what_is_wrong,
    ):
        assert growth(action) < 3000


def test_integers_and_replaced_values_are_not_left_behind() -> None:
    """Small integers are shared by all of Python and would hide it."""
    partition = MetadataResponsePartition(replica_nodes=list(range(100_000, 100_050)), leader_epoch=200_000)
    encoded = b"".join(encode_message(partition_of(partition), 12))
    assert growth(lambda: decode_message(MetadataResponse, 12, encoded)) < 3000
    epoch = b"\x01\x08" + (2**40).to_bytes(8)
    twice = b"\x00\x00" + b"\x01" + bytes(4) + b"\x02" + epoch + epoch
    assert decode_message(ApiVersionsResponse, 3, twice).finalized_features_epoch == 2**40
    assert growth(lambda: decode_message(ApiVersionsResponse, 3, twice)) < 3000


def partition_of(partition: MetadataResponsePartition) -> MetadataResponse:
    return MetadataResponse(topics=[MetadataResponseTopic(partitions=[partition])])


def test_references_are_balanced() -> None:
    body, name, topic_id = bytes(5000), "a topic's name", b"sixteen bytes..."
    request = full(ProduceRequest, 13)
    request.transactional_id = name
    request.topic_data[0].topic_id = topic_id
    request.topic_data[0].partition_data[0].records = (body, body)
    before = [sys.getrefcount(value) for value in (body, name, topic_id, request)]
    parts = encode_message(request, 13)
    assert [part is body for part in parts].count(True) == 8  # `full` uses each topic and partition twice
    del parts
    assert [sys.getrefcount(value) for value in (body, name, topic_id, request)] == before


def test_what_is_decoded_is_referred_to_as_often_as_what_python_makes() -> None:
    def counts(request: ProduceRequest) -> list[int]:
        topic = request.topic_data[0]
        held = (request, request.topic_data, topic, topic.topic_id, topic.partition_data[0].records)
        return [sys.getrefcount(value) for value in held]

    def made(variant: bytes) -> ProduceRequest:
        partition = ProduceRequestPartitionData(index=1, records=variant * 100)
        return ProduceRequest(
            topic_data=[ProduceRequestTopicData(topic_id=variant * 16, partition_data=[partition])]
        )

    expected = counts(made(b"a"))
    encoded = b"".join(encode_message(made(b"b"), 13))
    decoded = counts(decode_message(ProduceRequest, 13, encoded))  # apart: an assert holds its operands
    assert decoded == expected
