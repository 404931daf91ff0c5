"""What may be put into a message: ranges, types, nulls, versions, and which buffers are copied."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka._wire.add_partitions_to_txn import AddPartitionsToTxnRequest
from krafka._wire.api_versions import ApiVersionsRequest, ApiVersionsResponse
from krafka._wire.create_topics import CreateTopicsResponse, CreateTopicsResponseCreatableTopicResult
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.find_coordinator import FindCoordinatorRequest
from krafka._wire.frames import decode_message, encode_message, encode_request, frame_length, joined_records
from krafka._wire.init_producer_id import InitProducerIdRequest
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from krafka._wire.produce import (
    ProduceRequest,
    ProduceRequestPartitionData,
    ProduceRequestTopicData,
    ProduceResponse,
    ProduceResponseLeaderIdAndEpoch,
    ProduceResponsePartition,
    ProduceResponseTopic,
)
from krafka._wire.sasl_handshake import SaslHandshakeResponse
from krafka._wire.schema import Field, Response, Struct

from .strategies import structs


@dataclass(slots=True, kw_only=True)
class Inner(Struct):
    number: int = 5

    SCHEMA: ClassVar[tuple[Field, ...]] = (Field("number", "uint16", (0, 2)),)


@dataclass(slots=True, kw_only=True)
class Pair(Struct):
    """Of as little as one byte when plain, which is what arrays of it must reckon with."""

    maybe: Inner | None = None

    SCHEMA: ClassVar[tuple[Field, ...]] = (Field("maybe", Inner, (0, 2), nullable=(0, 2)),)


@dataclass(slots=True, kw_only=True)
class Everything(Response):
    """Field types and combinations that no message of a producer has, so that they are not left untried."""

    API_KEY: ClassVar[int] = 1000
    MIN_VERSION: ClassVar[int] = 0
    MAX_VERSION: ClassVar[int] = 2
    FLEXIBLE_FROM: ClassVar[int | None] = 1

    small: int = 0
    unsigned: int = 0
    large: int = 0
    ratio: float = 0.0
    maybe: Inner | None = None
    always: Inner = field(default_factory=Inner)
    late: Inner = field(default_factory=Inner)
    floats: list[float] = field(default_factory=list)
    blobs: list[bytes] | None = None
    pairs: list[Pair] = field(default_factory=list)
    tagged_text: str | None = "default"
    tagged_blob: bytes = b""
    tagged_list: list[Inner] | None = field(default_factory=list)
    far_tag: int = -1

    SCHEMA: ClassVar[tuple[Field, ...]] = (
        Field("small", "int8", (0, 2)),
        Field("unsigned", "uint16", (0, 2)),
        Field("large", "uint32", (0, 2)),
        Field("ratio", "float64", (0, 2)),
        Field("maybe", Inner, (0, 2), nullable=(0, 2)),
        Field("always", Inner, (0, 2)),
        Field("late", Inner, (2, 2)),
        Field("floats", "float64", (0, 2), array=True),
        Field("blobs", "bytes", (0, 2), array=True, nullable=(0, 2)),
        Field("pairs", Pair, (0, 2), array=True),
        Field("tagged_text", "string", (1, 2), nullable=(1, 2), tagged=(1, 2), tag=1),
        Field("tagged_blob", "bytes", (1, 2), tagged=(1, 2), tag=0),
        Field("tagged_list", Inner, (1, 2), array=True, nullable=(1, 2), tagged=(1, 2), tag=2),
        Field("far_tag", "int32", (1, 2), tagged=(1, 2), tag=5000),
    )


@pytest.mark.parametrize("version", [0, 1, 2])
@given(data=st.data())
def test_every_field_type_comes_back_equal(version: int, data: st.DataObject) -> None:
    message = data.draw(structs(Everything, version))
    assert decode_message(Everything, version, b"".join(encode_message(message, version))) == message


def test_bytes_of_every_field_type() -> None:
    message = Everything(small=-2, unsigned=0xFFFE, large=0xFFFFFFFD, ratio=-1.5, maybe=Inner(number=7))
    plain = (
        b"\xfe" + b"\xff\xfe" + b"\xff\xff\xff\xfd" + b"\xbf\xf8" + bytes(6) + b"\x01\x00\x07" + b"\x00\x05"
    )
    assert b"".join(encode_message(message, 0)) == plain + bytes(4) + b"\xff\xff\xff\xff" + bytes(4)
    message = Everything(tagged_text=None, tagged_blob=b"abc", far_tag=2)
    tagged = b"\x03" + b"\x00\x04\x04abc" + b"\x01\x01\x00" + b"\x88\x27\x04\x00\x00\x00\x02"
    inner = b"\x00\x05\x00"
    assert (
        b"".join(encode_message(message, 2)) == bytes(15) + b"\xff" + inner + inner + b"\x01\x00\x01" + tagged
    )


def test_a_long_tagged_field_gets_a_long_size() -> None:
    message = Everything(tagged_blob=bytes(range(256)) * 100)
    parts = encode_message(message, 1)
    assert len(parts) == 1, "a tagged field is copied: its size stands before it"
    assert decode_message(Everything, 1, parts[0]) == message


@pytest.mark.parametrize("version", [0, 1])
def test_an_array_of_the_smallest_structs_at_the_end_of_a_message(version: int) -> None:
    @dataclass(slots=True)
    class Pairs(Response):
        API_KEY, MIN_VERSION, MAX_VERSION, FLEXIBLE_FROM = 1001, 0, 1, 1
        pairs: list[Pair] = field(default_factory=list)
        SCHEMA: ClassVar[tuple[Field, ...]] = (Field("pairs", Pair, (0, 1), array=True),)

    message = Pairs([Pair()] * 9)
    assert decode_message(Pairs, version, b"".join(encode_message(message, version))) == message


def test_defaults_of_absent_fields_are_not_shared() -> None:
    encoded = b"".join(encode_message(Everything(), 0))
    first, second = (decode_message(Everything, 0, encoded) for _ in range(2))
    assert first.tagged_list is not None
    first.tagged_list.append(Inner())
    first.late.number = 9
    assert second == Everything()
    assert decode_message(Everything, 0, encoded) == Everything()


# ---- versions -------------------------------------------------------------------------------------------------


def test_a_field_the_version_lacks_must_hold_its_default() -> None:
    encode_message(InitProducerIdRequest(transactional_id="t"), 2)
    with pytest.raises(ValueError, match=r"InitProducerId request v2: producer_id is set, but this version"):
        encode_message(InitProducerIdRequest(transactional_id="t", producer_id=4), 2)
    with pytest.raises(ValueError, match="FindCoordinator request v3: coordinator_keys is set"):
        encode_message(FindCoordinatorRequest(coordinator_keys=["t"]), 3)
    with pytest.raises(ValueError, match="Metadata request v7: include_topic_authorized_operations is set"):
        encode_message(MetadataRequest(include_topic_authorized_operations=True), 7)
    partition = ProduceResponsePartition(current_leader=ProduceResponseLeaderIdAndEpoch(leader_id=1))
    response = ProduceResponse(responses=[ProduceResponseTopic(partition_responses=[partition])])
    with pytest.raises(ValueError, match=r"responses\[0\].partition_responses\[0\].current_leader is set"):
        encode_message(response, 9)


def test_an_ignorable_field_the_version_lacks_is_dropped() -> None:
    request = ApiVersionsRequest(client_software_name="krafka", client_software_version="1")
    assert encode_message(request, 0) == []
    topic = MetadataRequestTopic(name="t", topic_id=b"i" * 16)
    decoded = decode_message(MetadataRequest, 9, b"".join(encode_message(MetadataRequest(topics=[topic]), 9)))
    assert decoded.topics == [MetadataRequestTopic(name="t")]
    response = CreateTopicsResponse(topics=[CreateTopicsResponseCreatableTopicResult(configs=None)])
    assert b"".join(encode_message(response, 4)) == bytes(4) + b"\x00\x00\x00\x01" + bytes(6)


@pytest.mark.parametrize("version", [-1, 2, 14, 100])
def test_a_version_that_is_not_there_is_a_value_error(version: int) -> None:
    with pytest.raises(ValueError, match=rf"ProduceRequest has no version {version}: it speaks 3 to 13"):
        encode_request(ProduceRequest(), version, 1)


def test_none_is_refused_where_the_version_does_not_allow_it() -> None:
    with pytest.raises(ValueError, match="Metadata request v0: topics is None, which this version"):
        encode_message(MetadataRequest(topics=None), 0)
    by_id = MetadataRequest(topics=[MetadataRequestTopic(name="a"), MetadataRequestTopic(name=None)])
    with pytest.raises(ValueError, match=r"Metadata request v9: topics\[1\].name is None"):
        encode_message(by_id, 9)
    assert encode_message(MetadataRequest(topics=None), 1) == [b"\xff\xff\xff\xff"]


# ---- values ---------------------------------------------------------------------------------------------------


def loosely(cls: Any, **fields: Any) -> Any:
    """An instance with values that its types do not allow."""
    return cls(**fields)


def partition(**fields: Any) -> ProduceRequest:
    data = ProduceRequestPartitionData(**fields)
    return ProduceRequest(topic_data=[ProduceRequestTopicData(name="t", partition_data=[data])])


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (ProduceRequest(acks=32768), "Produce request v9: acks is 32768, outside -32768 to 32767"),
        (ProduceRequest(timeout_ms=-(2**31) - 1), "timeout_ms is -2147483649, outside"),
        (
            partition(index=2**70),
            r"topic_data\[0\].partition_data\[0\].index is 1180591620717411303424, outside",
        ),
        (ProduceRequest(transactional_id="x" * 32768), "transactional_id is a string of 32768 bytes, longer"),
        (ProduceRequest(transactional_id="\ud800"), "transactional_id has a lone surrogate"),
    ],
)
def test_a_value_out_of_range_is_a_value_error_that_names_the_field(
    message: ProduceRequest, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        encode_message(message, 9)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (loosely(ProduceRequest, acks="1"), "Produce request v9: acks must be an int, not str"),
        (loosely(ProduceRequest, acks=1.0), "acks must be an int, not float"),
        (loosely(ProduceRequest, acks=None), "acks must be an int, not NoneType"),
        (loosely(ProduceRequest, transactional_id=b"t"), "transactional_id must be a str, not bytes"),
        (loosely(ProduceRequest, topic_data="ab"), "topic_data must be a list or a tuple, not str"),
        (
            loosely(ProduceRequest, topic_data=[ProduceRequestPartitionData()]),
            r"topic_data\[0\] must be ProduceRequestTopicData, not ProduceRequestPartitionData",
        ),
        (partition(records="text"), r"partition_data\[0\].records needs contiguous bytes, not str"),
        (partition(records=[b"a", 5]), r"partition_data\[0\].records needs contiguous bytes, not int"),
        (partition(records=memoryview(b"abcd")[::2]), "needs contiguous bytes, not memoryview"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_type_error_that_names_the_field(
    message: ProduceRequest, text: str
) -> None:
    with pytest.raises(TypeError, match=text):
        encode_message(message, 9)


def test_further_types_are_checked() -> None:
    with pytest.raises(TypeError, match="committed must be a bool, not int"):
        encode_message(loosely(EndTxnRequest, committed=1), 3)
    with pytest.raises(TypeError, match="ratio must be a float, not str"):
        encode_message(loosely(Everything, ratio="1"), 1)
    with pytest.raises(ValueError, match=r"topics\[0\].topic_id must be a UUID's 16 bytes"):
        encode_message(MetadataRequest(topics=[MetadataRequestTopic(topic_id=b"short")]), 12)
    with pytest.raises(ValueError, match="unsigned is -1, outside 0 to 65535"):
        encode_message(Everything(unsigned=-1), 1)
    with pytest.raises(TypeError, match="always must be Inner, not NoneType"):
        encode_message(loosely(Everything, always=None), 1)


def test_a_deleted_attribute_is_named() -> None:
    request = ProduceRequest()
    del request.acks
    with pytest.raises(AttributeError, match="acks was deleted"):
        encode_message(request, 9)


def test_a_value_that_changes_its_array_while_it_is_encoded_is_refused() -> None:
    response = SaslHandshakeResponse()

    class Shrinking(list[str]):
        def __iter__(self) -> Any:
            yield "PLAIN"

    response.mechanisms = Shrinking(["PLAIN", "GSSAPI"])
    with pytest.raises(RuntimeError, match="v1: mechanisms changed its length while it was being encoded"):
        encode_message(response, 1)


def test_records_that_change_while_they_are_encoded_are_refused() -> None:
    class Shrinking(list[bytes]):
        rounds = 0

        def __iter__(self) -> Any:
            self.rounds += 1
            return iter([b"abc"] if self.rounds == 1 else [b"ab"])

    with pytest.raises(RuntimeError, match="records changed its size while it was being encoded"):
        encode_message(partition(records=Shrinking()), 9)


def test_what_the_protocol_cannot_count_is_refused() -> None:
    """A 32-bit size is all there is; the buffers are referred to, so this takes no memory to speak of."""
    part, in_a_gigabyte = bytes(2**24), 64
    with pytest.raises(
        ValueError, match=r"records has the length 2147483648, over the protocol's 2147483647"
    ):
        encode_message(partition(records=[part] * (2 * in_a_gigabyte)), 9)
    parts = [ProduceRequestPartitionData(records=[part] * in_a_gigabyte)] * 2
    request = ProduceRequest(topic_data=[ProduceRequestTopicData(partition_data=parts)])
    with pytest.raises(ValueError, match=r"a frame of 21474836\d\d bytes is over the protocol's 2147483647"):
        encode_request(request, 9, 1)


def test_subclasses_of_a_message_part_are_accepted() -> None:
    class Named(ProduceRequestTopicData):
        __slots__ = ()

    plain = b"".join(encode_message(ProduceRequest(topic_data=[ProduceRequestTopicData(name="t")]), 9))
    assert b"".join(encode_message(ProduceRequest(topic_data=[Named(name="t")]), 9)) == plain


# ---- buffers --------------------------------------------------------------------------------------------------


def test_large_records_are_referred_to_and_small_ones_copied() -> None:
    header, body = bytearray(b"h" * 61), b"r" * 70_000
    parts = encode_request(partition(records=(header, body)), 9, 1, "me")
    assert len(parts) == 3
    assert parts[1] is body
    header[:] = b"x" * 61
    sent = b"".join(parts)
    assert frame_length(parts) == len(sent)
    assert b"h" * 61 + body in sent


@pytest.mark.parametrize(
    "records",
    [
        b"a" * 5000,
        bytearray(b"a" * 5000),
        memoryview(b"a" * 5000),
        [b"a" * 61, b"a" * 4939],
        (b"a" * 2500, memoryview(bytearray(b"a" * 2500)), b""),
        array("d", [0.0] * 625),
        memoryview(array("q", [7] * 625)),
        [b"a"] * 5000,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("version", [3, 8, 9, 13])
def test_records_may_be_any_buffer_or_several(records: Any, version: int) -> None:
    parts = encode_message(partition(records=records), version)
    assert all(len(part) == memoryview(part).nbytes for part in parts)
    decoded = decode_message(ProduceRequest, version, b"".join(parts)).topic_data[0].partition_data[0].records
    assert decoded == b"".join(records if isinstance(records, (list, tuple)) else [records])
    assert isinstance(decoded, bytes)
    assert joined_records(records) == decoded


def test_null_and_empty_records_stay_apart() -> None:
    for records in (None, b""):
        for version in (3, 9):
            encoded = b"".join(encode_message(partition(records=records), version))
            assert decode_message(ProduceRequest, version, encoded) == partition(records=records)
    assert b"".join(encode_message(partition(records=[]), 9)) == b"".join(
        encode_message(partition(records=b""), 9)
    )


def test_encoding_holds_on_to_no_buffer() -> None:
    body = bytearray(5000)
    encode_message(partition(records=body), 9)
    body.extend(b"more")
    with pytest.raises(TypeError, match="needs contiguous bytes"):
        encode_message(partition(records=[body, "text"]), 9)
    body.extend(b"more")


def test_decoding_holds_on_to_no_buffer() -> None:
    frame = bytearray(b"".join(encode_message(partition(records=b"r" * 3000), 9)))
    decoded = decode_message(ProduceRequest, 9, frame)
    frame.clear()
    assert decoded == partition(records=b"r" * 3000)


def test_a_message_larger_than_the_writer_starts_with() -> None:
    topics = [MetadataRequestTopic(name=f"topic-{index}") for index in range(5000)]
    request = MetadataRequest(topics=topics)
    assert decode_message(MetadataRequest, 9, b"".join(encode_message(request, 9))) == request


def test_a_classs_own_table_is_checked_when_it_is_first_used() -> None:
    @dataclass
    class NoSlots(Response):
        MIN_VERSION, MAX_VERSION, FLEXIBLE_FROM, API_KEY = 0, 0, None, 1
        number: int = 0
        SCHEMA: ClassVar[tuple[Field, ...]] = (Field("number", "int8", (0, 0)),)

    with pytest.raises(TypeError, match=r"NoSlots.number is not a slot"):
        encode_message(NoSlots(), 0)

    @dataclass(slots=True)
    class Forgetful(Response):
        MIN_VERSION, MAX_VERSION, FLEXIBLE_FROM, API_KEY = 0, 0, None, 1
        number: int = 0
        SCHEMA: ClassVar[tuple[Field, ...]] = ()

    with pytest.raises(TypeError, match="do not list the same fields"):
        encode_message(Forgetful(), 0)


def test_decode_message_refuses_an_offset_outside_the_frame() -> None:
    for offset in (-1, 4):
        with pytest.raises(ValueError, match=f"offset {offset} is outside a frame of 3 bytes"):
            decode_message(MetadataResponse, 1, b"abc", offset)


def test_brokers_only_versions_can_still_be_encoded() -> None:
    message = AddPartitionsToTxnRequest()
    assert decode_message(AddPartitionsToTxnRequest, 5, b"".join(encode_message(message, 5))) == message
    assert ApiVersionsResponse() == decode_message(
        ApiVersionsResponse, 3, b"\x00\x00\x01\x00\x00\x00\x00\x00"
    )
