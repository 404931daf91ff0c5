"""Bytes from a broker gone wrong: only ProtocolError, never a crash, never memory out of proportion."""

from __future__ import annotations

import random
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka._wire.api_versions import ApiVersionsResponse
from krafka._wire.frames import (
    decode_message,
    decode_request,
    decode_response,
    encode_message,
    encode_request,
    encode_response,
    peek_request,
    response_correlation_id,
)
from krafka._wire.metadata import MetadataResponse, MetadataResponseBroker, MetadataResponseTopic
from krafka._wire.produce import ProduceRequest, ProduceResponse
from krafka._wire.sasl_handshake import SaslHandshakeResponse
from krafka._wire.schema import Message, Request, Response
from krafka.errors import ProtocolError

from .strategies import EVERY_VERSION, full

LENGTHS = [
    bytes(4),
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\x00\x00\x00",
    b"\x00\x10\x00\x00",
    b"\x7f\xff",
]
LENGTHS += [
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x1f",
    b"\x80\x80\x80\x80\x80",
    b"\x80\x80\x02",
    b"\x01",
    b"\x02",
]


def frame_of(cls: type[Any], version: int) -> bytes:
    message = full(cls, version)
    if issubclass(cls, Request):
        return b"".join(encode_request(message, version, 1, "krafka"))[4:]
    return b"".join(encode_response(message, version, 1))[4:]


def decode_frame(cls: type[Any], version: int, frame: bytes) -> Any:
    if issubclass(cls, Request):
        return decode_request(frame)[1]
    return decode_response(cls, version, frame)


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_a_frame_cut_anywhere_is_a_protocol_error(cls: type[Message], version: int) -> None:
    frame = frame_of(cls, version)
    for size in range(len(frame)):
        with pytest.raises(ProtocolError):
            decode_frame(cls, version, frame[:size])


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_bytes_after_the_message_are_a_protocol_error_that_counts_them(
    cls: type[Message], version: int
) -> None:
    with pytest.raises(ProtocolError, match=" 3 bytes are left over after the message"):
        decode_frame(cls, version, frame_of(cls, version) + b"\x00\x00\x00")


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_changed_bytes_are_a_protocol_error_or_another_message(cls: type[Message], version: int) -> None:
    """What does decode is a sound message: it can be encoded, and then decodes to the same."""
    frame = b"".join(encode_message(full(cls, version), version)) or b"?"
    dice = random.Random(f"{cls.__name__} {version}")
    for _ in range(150):
        changed = bytearray(frame)
        for _ in range(dice.choice([1, 1, 2, 5])):
            changed[dice.randrange(len(changed))] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
        with suppress(ProtocolError):
            decoded = decode_message(cls, version, bytes(changed))
            again = b"".join(encode_message(decoded, version))
            assert decode_message(cls, version, again) == decoded


RESPONSE_VERSIONS = [case.values for case in EVERY_VERSION if issubclass(case.values[0], Response)]
EDITS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 6), st.binary(max_size=6) | st.sampled_from(LENGTHS)),
    max_size=4,
)


@settings(max_examples=600, deadline=None)
@given(case=st.sampled_from(RESPONSE_VERSIONS), edits=EDITS)
def test_an_edited_response_is_a_protocol_error_or_another_response(
    case: tuple[type[Any], int], edits: list[tuple[int, int, bytes]]
) -> None:
    """What Hypothesis makes of it is the smallest example; `tests/fuzz` tries more of them."""
    cls, version = case
    frame = bytearray(frame_of(cls, version))
    for at, size, replacement in edits:
        frame[at : at + size] = replacement
    with suppress(ProtocolError):
        decoded = decode_response(cls, version, bytes(frame))
        assert type(decoded) is cls
        again = b"".join(encode_response(decoded, version, 1))[4:]
        assert decode_response(cls, version, again) == decoded


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_no_length_makes_it_allocate_out_of_proportion(cls: type[Message], version: int) -> None:
    """Every four bytes in turn become a huge length, plain and compact."""
    frame = frame_of(cls, version) + bytes(2000)
    decode_outcome(cls, version, frame)
    worst = 0
    tracemalloc.start()
    try:
        for start in range(8, len(frame) - 2000):
            for huge in (b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff\x07", b"\x00\x00\x07\xd0", b"\xd0\x0f"):
                tracemalloc.reset_peak()
                before = tracemalloc.get_traced_memory()[0]
                decode_outcome(cls, version, frame[:start] + huge + frame[start + len(huge) :])
                worst = max(worst, tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert worst < 64 * len(frame) + 20_000


def decode_outcome(cls: type[Message], version: int, frame: bytes) -> Any:
    try:
        return decode_frame(cls, version, frame)
    except ProtocolError as error:
        return str(error)


def test_an_error_names_message_version_field_and_what_is_missing() -> None:
    message = full(MetadataResponse, 12)
    encoded = b"".join(encode_message(message, 12))
    with pytest.raises(ProtocolError) as caught:
        decode_message(MetadataResponse, 12, encoded[:-10])
    assert str(caught.value).startswith("Metadata response v12: topics[1].")
    broker = MetadataResponseBroker(host="broker-1.example")
    encoded = b"".join(encode_message(MetadataResponse(brokers=[broker]), 12))
    with pytest.raises(ProtocolError) as caught:
        decode_message(MetadataResponse, 12, encoded[:20])
    assert (
        str(caught.value) == "Metadata response v12: brokers[0].host needs 16 bytes, 10 are left at offset 10"
    )


def test_invalid_utf8_is_a_protocol_error_with_its_cause() -> None:
    encoded = b"".join(encode_message(SaslHandshakeResponse(mechanisms=["PLAIN", "ABCDE"]), 1))
    with pytest.raises(ProtocolError, match=r"mechanisms\[1\] at offset 15 is not UTF-8") as caught:
        decode_message(SaslHandshakeResponse, 1, encoded.replace(b"ABCDE", b"AB\xff\xfe!"))
    assert isinstance(caught.value.__cause__, UnicodeDecodeError)


def test_a_null_where_the_version_has_none_is_a_protocol_error() -> None:
    encoded = bytearray(b"".join(encode_message(SaslHandshakeResponse(mechanisms=[]), 1)))
    encoded[2:6] = b"\xff\xff\xff\xff"
    with pytest.raises(ProtocolError, match="mechanisms is null"):
        decode_message(SaslHandshakeResponse, 1, encoded)


def test_a_length_below_null_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="mechanisms has the length -2"):
        decode_message(SaslHandshakeResponse, 1, b"\x00\x00\xff\xff\xff\xfe")


def test_an_array_count_is_held_against_the_least_its_elements_take() -> None:
    encoded = b"\x00\x00" + (1000).to_bytes(4, "big") + bytes(1999)
    with pytest.raises(ProtocolError, match="announces 1000 elements of at least 2 bytes each, 1999 bytes"):
        decode_message(SaslHandshakeResponse, 1, encoded)


@pytest.mark.parametrize("varint", [b"\xff\xff\xff\xff\x1f", b"\x80\x80\x80\x80\x80\x01", b"\xff" * 9])
def test_a_varint_of_more_than_32_bits_is_a_protocol_error(varint: bytes) -> None:
    with pytest.raises(ProtocolError, match="more than 32 bits"):
        decode_message(ProduceResponse, 9, varint + bytes(20))


def test_a_string_longer_than_kafka_allows_is_a_protocol_error() -> None:
    topic = MetadataResponseTopic(name="x" * 32767)
    encoded = b"".join(encode_message(MetadataResponse(topics=[topic]), 12))
    assert decode_message(MetadataResponse, 12, encoded).topics == [topic]
    prefix = b"\x80\x80\x02"
    assert encoded.count(prefix) == 1
    with pytest.raises(ProtocolError, match="32768 bytes, longer than Kafka's 32767"):
        decode_message(MetadataResponse, 12, encoded.replace(prefix, b"\x81\x80\x02") + b"x")


# ---- tagged fields (KIP-482) ----------------------------------------------------------------------------------


def api_versions(tagged: bytes) -> ApiVersionsResponse:
    return decode_message(ApiVersionsResponse, 3, b"\x00\x07" + b"\x01" + bytes(4) + tagged)


def test_unknown_tagged_fields_are_skipped() -> None:
    unknown = b"\x05\x03abc" + b"\xff\x7f\x00"
    assert api_versions(b"\x02" + unknown) == ApiVersionsResponse(error_code=7)
    known = b"\x01\x08" + (77).to_bytes(8, "big")
    assert api_versions(b"\x03" + unknown[:5] + known + unknown[5:]).finalized_features_epoch == 77


def test_unknown_tagged_fields_of_nested_structs_and_headers_are_skipped() -> None:
    frame = b"\x00\x00\x00\x05" + b"\x01\x09\x02ab" + b"\x01\x00\x00\x00\x03" + b"\x01\x20\x01z"
    assert decode_response(ProduceResponse, 9, frame) == ProduceResponse(throttle_time_ms=3)
    topic = b"\x02t" + b"\x01" + b"\x01\x63\x02zz"
    frame = bytes(4) + b"\x00" + b"\x02" + topic + bytes(4) + b"\x00"
    assert decode_response(ProduceResponse, 9, frame).responses[0].name == "t"


def test_a_tagged_field_must_fill_the_size_it_announces() -> None:
    epoch = (77).to_bytes(8, "big")
    with pytest.raises(ProtocolError, match="finalized_features_epoch leaves 1 of its 9 bytes unread"):
        api_versions(b"\x01\x01\x09" + epoch + b"\x00")
    with pytest.raises(ProtocolError, match="finalized_features_epoch needs 8 bytes, 7 are left"):
        api_versions(b"\x01\x01\x07" + epoch)


def test_a_tagged_field_sent_twice_leaves_the_later_value() -> None:
    field = b"\x01\x08" + (77).to_bytes(8, "big")
    later = b"\x01\x08" + (78).to_bytes(8, "big")
    assert api_versions(b"\x02" + field + later).finalized_features_epoch == 78


@pytest.mark.parametrize(
    ("tagged", "text"),
    [
        (b"\x7f", "tagged_fields announces 127 of them, 0 bytes are left"),
        (b"\x01\x09\x7f", "tagged_fields tag 9 needs 127 bytes, 0 are left"),
        (b"\xff\xff\xff\xff\x0f" + bytes(9), "announces 4294967295 of them"),
        (b"", "tagged_fields needs 1 bytes, 0 are left"),
    ],
)
def test_tagged_fields_that_do_not_fit_are_a_protocol_error(tagged: bytes, text: str) -> None:
    with pytest.raises(ProtocolError, match=text):
        api_versions(tagged)


# ---- headers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(8))
def test_a_frame_too_short_for_its_header_is_a_protocol_error(size: int) -> None:
    with pytest.raises(ProtocolError, match="no room for its header"):
        peek_request(bytes(size))
    if size < 4:
        with pytest.raises(ProtocolError, match="no room for its correlation id"):
            response_correlation_id(bytes(size))


@pytest.mark.parametrize(
    ("api_key", "version", "text"),
    [
        (999, 0, "api key 999"),
        (0, 14, "Produce request v14"),
        (0, 2, "v2"),
        (0, -1, "v-1"),
        (-1, 0, "key -1"),
    ],
)
def test_a_request_of_an_unknown_api_or_version_is_a_protocol_error(
    api_key: int, version: int, text: str
) -> None:
    header = api_key.to_bytes(2, "big", signed=True) + version.to_bytes(2, "big", signed=True)
    with pytest.raises(ProtocolError, match=text):
        decode_request(header + bytes(4) + b"\xff\xff")


def test_a_client_id_of_impossible_length_is_a_protocol_error() -> None:
    frame = bytearray(b"".join(encode_request(ProduceRequest(), 9, 1, "me"))[4:])
    frame[8:10] = b"\xff\xfe"
    with pytest.raises(ProtocolError, match="client id of length -2"):
        decode_request(frame)
