"""Whatever can be said in a version comes back the same, through bare messages and through whole frames."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka._wire.frames import (
    decode_message,
    decode_request,
    decode_response,
    encode_message,
    encode_request,
    encode_response,
    frame_length,
    response_correlation_id,
)
from krafka._wire.schema import Message, Request

from .strategies import EVERY_VERSION, full, structs

FEW = settings(max_examples=15, deadline=None)


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
@FEW
@given(data=st.data())
def test_a_random_message_comes_back_equal(cls: type[Message], version: int, data: st.DataObject) -> None:
    message = data.draw(structs(cls, version))
    encoded = b"".join(encode_message(message, version))
    assert decode_message(cls, version, encoded) == message
    assert decode_message(cls, version, memoryview(b"xyz" + encoded), 3) == message


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_a_message_with_every_field_set_comes_back_equal(cls: type[Message], version: int) -> None:
    message = full(cls, version)
    assert decode_message(cls, version, bytearray(b"".join(encode_message(message, version)))) == message


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_a_frame_keeps_its_header(cls: type[Any], version: int) -> None:
    message = full(cls, version)
    if issubclass(cls, Request):
        parts = encode_request(message, version, -5, "café")
    else:
        parts = encode_response(message, version, 2**31 - 1)
    sent = b"".join(parts)
    assert frame_length(parts) == len(sent) == 4 + int.from_bytes(sent[:4])
    if issubclass(cls, Request):
        assert decode_request(sent[4:]) == ((cls.API_KEY, version, -5, "café"), message)
    else:
        assert response_correlation_id(sent[4:]) == 2**31 - 1
        assert decode_response(cls, version, sent[4:]) == message


@pytest.mark.parametrize(("cls", "version"), EVERY_VERSION)
def test_a_message_of_defaults_comes_back_equal(cls: type[Message], version: int) -> None:
    message = cls()
    assert decode_message(cls, version, b"".join(encode_message(message, version))) == message
