"""Offsets and places in groups: what they may be, and how a consumer's place is taken from it."""

from __future__ import annotations

import struct
from typing import Any

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka.aio import AIOConsumer
from hypothesis import given
from hypothesis import strategies as st

from krafka import ConfigError, ConsumerGroupMetadata, OffsetAndMetadata

NOWHERE = "127.0.0.1:1"
TEXTS = st.text(st.characters(blacklist_characters="\0", codec="utf-8"))
NAMES = st.text(st.characters(blacklist_characters="\0", codec="utf-8"), min_size=1)


def as_librdkafka_writes(place: ConsumerGroupMetadata) -> bytes:
    """The bytes of `rd_kafka_consumer_group_metadata_write()`, by its description in librdkafka's source."""
    instance_id = place.group_instance_id
    return b"".join(
        [
            b"CGMDv2:",
            struct.pack("=i", place.generation_id),
            place.group_id.encode() + b"\0",
            place.member_id.encode() + b"\0",
            b"\1" if instance_id is None else b"\0" + instance_id.encode() + b"\0",
        ]
    )


def confluent_consumer(**settings: Any) -> confluent_kafka.Consumer:
    return confluent_kafka.Consumer({"bootstrap.servers": NOWHERE, "log_level": 0, **settings})


# -- values ------------------------------------------------------------------------------------------------------------


def test_what_is_left_out_says_that_it_is_unknown() -> None:
    assert OffsetAndMetadata(7) == OffsetAndMetadata(7, -1, "")
    place = ConsumerGroupMetadata("billing")
    assert place == ConsumerGroupMetadata("billing", -1, "", None)
    assert not place.is_member


@pytest.mark.parametrize(
    ("generation_id", "member_id", "is_member"),
    [(0, "m", True), (5, "m", True), (-1, "m", False), (5, "", False)],
)
def test_a_member_has_a_generation_and_a_name(generation_id: int, member_id: str, is_member: bool) -> None:
    assert ConsumerGroupMetadata("billing", generation_id, member_id).is_member is is_member


@pytest.mark.parametrize(
    ("fields", "option", "text"),
    [
        ({"offset": -1}, "offset", "offset must be a whole number from 0 to 9223372036854775807, got -1"),
        ({"offset": 2**63}, "offset", "got 9223372036854775808"),
        ({"offset": True}, "offset", "got True"),
        ({"offset": "7"}, "offset", "got '7'"),
        ({"offset": 7, "leader_epoch": -2}, "leader_epoch", "from -1 to 2147483647, got -2"),
        ({"offset": 7, "metadata": b"so far"}, "metadata", r"metadata must be str, got b'so far' \(bytes\)"),
    ],
)
def test_an_offset_that_is_none(fields: dict[str, Any], option: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        OffsetAndMetadata(**fields)
    assert raised.value.option == option


@pytest.mark.parametrize(
    ("fields", "option", "text"),
    [
        ({"group_id": ""}, "group_id", "group_id is empty; give the consumer group's name"),
        ({"group_id": b"billing"}, "group_id", "group_id must be str"),
        ({"group_id": "billing", "generation_id": -2}, "generation_id", "from -1 to 2147483647, got -2"),
        ({"group_id": "billing", "member_id": None}, "member_id", r"member_id must be str, got None"),
        (
            {"group_id": "billing", "group_instance_id": 3},
            "group_instance_id",
            "group_instance_id must be str",
        ),
    ],
)
def test_a_place_that_is_none(fields: dict[str, Any], option: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as raised:
        ConsumerGroupMetadata(**fields)
    assert raised.value.option == option


# -- taken from a consumer ---------------------------------------------------------------------------------------------


@given(st.builds(ConsumerGroupMetadata, NAMES, st.integers(-1, 2**31 - 1), TEXTS, st.none() | TEXTS))
def test_what_librdkafka_writes_is_read(place: ConsumerGroupMetadata) -> None:
    assert ConsumerGroupMetadata.of(as_librdkafka_writes(place)) == place


@given(st.binary() | st.binary().map(b"CGMDv2:".__add__))
def test_other_bytes_are_refused_or_read(data: bytes) -> None:
    try:
        place = ConsumerGroupMetadata.of(data)
    except ConfigError:
        return
    assert as_librdkafka_writes(place) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"CGMDv2:",
        b"CGMDv3:\0\0\0\0g\0m\0\1",
        b"CGMDv2:\0\0\0\0g\0m",
        b"CGMDv2:\0\0\0\0g\0m\0",
        b"CGMDv2:\0\0\0\0g\0m\0\2",
        b"CGMDv2:\0\0\0\0g\0m\0\0i",
        b"CGMDv2:\0\0\0\0g\0m\0\1more",
        b"CGMDv2:\0\0\0\0\xff\0m\0\1",
    ],
)
def test_bytes_of_another_form_are_named(data: bytes) -> None:
    with pytest.raises(ConfigError, match="is not in the form of librdkafka"):
        ConsumerGroupMetadata.of(data)


@pytest.mark.parametrize("instance_id", [None, "instance-1"])
def test_a_consumer_of_confluent_that_has_not_joined(instance_id: str | None) -> None:
    settings = {} if instance_id is None else {"group.instance.id": instance_id}
    consumer = confluent_consumer(**{"group.id": "Rechnungen für März"}, **settings)
    place = ConsumerGroupMetadata.of(consumer)
    consumer.close()
    assert place == ConsumerGroupMetadata("Rechnungen für März", -1, "", instance_id)
    assert not place.is_member


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_consumer_that_is_awaited() -> None:
    consumer = AIOConsumer({"bootstrap.servers": NOWHERE, "log_level": 0, "group.id": "billing"})
    with pytest.raises(TypeError, match=r"of\(await consumer.consumer_group_metadata\(\)\)"):
        ConsumerGroupMetadata.of(consumer)
    place = ConsumerGroupMetadata.of(await consumer.consumer_group_metadata())
    await consumer.close()
    assert place == ConsumerGroupMetadata("billing")


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
async def test_a_consumer_of_aiokafka_that_has_not_started() -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=NOWHERE, group_id="billing", group_instance_id="instance-1")
    assert ConsumerGroupMetadata.of(consumer) == ConsumerGroupMetadata("billing", -1, "", "instance-1")
    await consumer.stop()
    groupless = AIOKafkaConsumer(bootstrap_servers=NOWHERE)
    with pytest.raises(ConfigError, match="the consumer has no group"):
        ConsumerGroupMetadata.of(groupless)
    await groupless.stop()


@pytest.mark.parametrize("other", [None, "billing", object()])
def test_what_is_no_consumer(other: object) -> None:
    with pytest.raises(TypeError, match=f"aiokafka or confluent-kafka, got {type(other).__name__}"):
        ConsumerGroupMetadata.of(other)
