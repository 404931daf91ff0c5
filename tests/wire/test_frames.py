"""Frames byte by byte, as the protocol guide has them, and the choice of versions."""

from __future__ import annotations

import pytest

from krafka._wire.api import APIS, APIS_BY_KEY, Api, negotiate
from krafka._wire.api_versions import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    ApiVersionsResponseVersion,
)
from krafka._wire.end_txn import EndTxnRequest
from krafka._wire.frames import (
    RequestHeader,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
    peek_request,
)
from krafka._wire.metadata import MetadataRequest, MetadataRequestTopic
from krafka._wire.sasl_handshake import SaslHandshakeRequest, SaslHandshakeResponse
from krafka._wire.schema import Request, Response


def test_a_request_before_flexible_versions() -> None:
    frame = b"".join(encode_request(SaslHandshakeRequest(mechanism="PLAIN"), 1, 7, "me"))
    assert (
        frame == b"\x00\x00\x00\x13" + b"\x00\x11\x00\x01\x00\x00\x00\x07" + b"\x00\x02me" + b"\x00\x05PLAIN"
    )


def test_a_flexible_request_keeps_the_plain_client_id() -> None:
    """The client id has a plain length, then come the header's tagged fields, then compact lengths."""
    request = EndTxnRequest(transactional_id="tx", producer_id=258, producer_epoch=3, committed=True)
    frame = b"".join(encode_request(request, 3, 1, "me"))
    header = b"\x00\x1a\x00\x03\x00\x00\x00\x01" + b"\x00\x02me" + b"\x00"
    body = b"\x03tx" + b"\x00\x00\x00\x00\x00\x00\x01\x02" + b"\x00\x03" + b"\x01" + b"\x00"
    assert frame == len(header + body).to_bytes(4, "big") + header + body


def test_a_client_id_may_be_absent_empty_or_not_ascii() -> None:
    for client_id, encoded in ((None, b"\xff\xff"), ("", b"\x00\x00"), ("ü", b"\x00\x02\xc3\xbc")):
        frame = b"".join(encode_request(ApiVersionsRequest(), 0, 1, client_id))[4:]
        assert frame[8:] == encoded
        assert decode_request(frame) == (RequestHeader(18, 0, 1, client_id), ApiVersionsRequest())
        assert peek_request(frame) == (18, 0, 1)


def test_a_client_id_over_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="client id of 32768 bytes, longer than Kafka's 32767"):
        encode_request(ApiVersionsRequest(), 0, 1, "x" * 32768)


def test_an_api_versions_response_never_has_a_flexible_header() -> None:
    response = ApiVersionsResponse(
        api_keys=[ApiVersionsResponseVersion(api_key=18, max_version=4)], throttle_time_ms=9
    )
    frame = b"".join(encode_response(response, 3, 5))
    body = b"\x00\x00" + b"\x02\x00\x12\x00\x00\x00\x04\x00" + b"\x00\x00\x00\x09" + b"\x00"
    assert frame[4:] == b"\x00\x00\x00\x05" + body
    assert decode_response(ApiVersionsResponse, 3, frame[4:]) == response


def test_a_metadata_request_for_all_topics_and_for_none_are_different_bytes() -> None:
    everything, nothing = MetadataRequest(topics=None), MetadataRequest(topics=[])
    assert b"".join(encode_request(everything, 12, 1))[15:] == b"\x00\x01\x00\x00"
    assert b"".join(encode_request(nothing, 12, 1))[15:] == b"\x01\x01\x00\x00"
    named = MetadataRequest(topics=[MetadataRequestTopic(name="t")], allow_auto_topic_creation=False)
    assert b"".join(encode_request(named, 12, 1))[15:] == b"\x02" + bytes(16) + b"\x02t\x00" + b"\x00\x00\x00"


def test_a_correlation_id_must_fit() -> None:
    with pytest.raises(OverflowError):
        encode_response(SaslHandshakeResponse(), 0, 2**31)


def test_the_client_versions_are_the_ones_it_may_speak() -> None:
    ranges = {api.name: (api.min_version, api.max_version) for api in APIS}
    assert ranges == {
        "Produce": (3, 13),
        "ListOffsets": (1, 11),
        "Metadata": (0, 13),
        "FindCoordinator": (0, 6),
        "SaslHandshake": (0, 1),
        "ApiVersions": (0, 4),
        "CreateTopics": (2, 7),
        "InitProducerId": (0, 5),
        "AddPartitionsToTxn": (0, 3),
        "AddOffsetsToTxn": (0, 4),
        "EndTxn": (0, 5),
        "TxnOffsetCommit": (0, 5),
        "SaslAuthenticate": (0, 2),
        "DescribeTransactions": (0, 0),
        "GetTelemetrySubscriptions": (0, 0),
        "PushTelemetry": (0, 0),
    }


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_the_catalogue_agrees_with_its_classes(api: Api) -> None:
    assert APIS_BY_KEY[api.key] is api
    assert api.request.__name__ == f"{api.name}Request"
    assert api.request.RESPONSE is api.response
    assert issubclass(api.request, Request)
    assert issubclass(api.response, Response)
    for cls in (api.request, api.response):
        assert api.key == cls.API_KEY
        assert cls.MIN_VERSION <= api.min_version <= api.max_version <= cls.MAX_VERSION


@pytest.mark.parametrize(
    ("broker", "version"),
    [
        ((0, 13), 13),
        ((0, 99), 13),
        ((0, 9), 9),
        ((3, 3), 3),
        ((13, 20), 13),
        ((0, 2), None),
        ((14, 20), None),
        ((9, 8), None),
    ],
)
def test_the_newest_common_version_is_taken(broker: tuple[int, int], version: int | None) -> None:
    assert negotiate(APIS_BY_KEY[0], *broker) == version
