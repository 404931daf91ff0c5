"""Serializers of single values: the bytes of Kafka's Java client, and refusals that say what was given."""

from __future__ import annotations

import math
import struct
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka.errors import ConfigError, RecordValidationError, SerializationError
from krafka.serializers import (
    BooleanSerializer,
    BytesSerializer,
    DoubleSerializer,
    FloatSerializer,
    IntegerSerializer,
    LongSerializer,
    ShortSerializer,
    StringSerializer,
    UUIDSerializer,
)

if TYPE_CHECKING:
    from krafka.records import Serializer

# Printed by a Java program that calls kafka-clients 4.3.1's serializers of the same names.
OF_JAVA: list[tuple[Serializer, Any, str]] = [
    (ShortSerializer(), 0, "0000"),
    (ShortSerializer(), 1, "0001"),
    (ShortSerializer(), -1, "ffff"),
    (ShortSerializer(), 32767, "7fff"),
    (ShortSerializer(), -32768, "8000"),
    (IntegerSerializer(), 0, "00000000"),
    (IntegerSerializer(), -1, "ffffffff"),
    (IntegerSerializer(), 4711, "00001267"),
    (IntegerSerializer(), 2147483647, "7fffffff"),
    (IntegerSerializer(), -2147483648, "80000000"),
    (LongSerializer(), 1, "0000000000000001"),
    (LongSerializer(), -1, "ffffffffffffffff"),
    (LongSerializer(), 1099511627776, "0000010000000000"),
    (LongSerializer(), 9223372036854775807, "7fffffffffffffff"),
    (LongSerializer(), -9223372036854775808, "8000000000000000"),
    (FloatSerializer(), -0.0, "80000000"),
    (FloatSerializer(), 1.5, "3fc00000"),
    (FloatSerializer(), 0.1, "3dcccccd"),
    (FloatSerializer(), 3.4028234663852886e38, "7f7fffff"),
    (FloatSerializer(), math.inf, "7f800000"),
    (FloatSerializer(), math.nan, "7fc00000"),
    (DoubleSerializer(), -0.0, "8000000000000000"),
    (DoubleSerializer(), 0.1, "3fb999999999999a"),
    (DoubleSerializer(), 1.7976931348623157e308, "7fefffffffffffff"),
    (DoubleSerializer(), 5e-324, "0000000000000001"),
    (DoubleSerializer(), -math.inf, "fff0000000000000"),
    (DoubleSerializer(), math.nan, "7ff8000000000000"),
    (BooleanSerializer(), True, "01"),
    (BooleanSerializer(), False, "00"),
    (
        UUIDSerializer(),
        uuid.UUID("01234567-89AB-cdef-0123-456789abcdef"),
        "30313233343536372d383961622d636465662d303132332d343536373839616263646566",
    ),
    (StringSerializer(), "gr\u00fc\u00dfe \U0001f600", "6772c3bcc39f6520f09f9880"),
    (StringSerializer("utf-16-be"), "gr\u00fc", "0067007200fc"),
]
EVERY = [
    BooleanSerializer(),
    BytesSerializer(),
    DoubleSerializer(),
    FloatSerializer(),
    IntegerSerializer(),
    LongSerializer(),
    ShortSerializer(),
    StringSerializer(),
    UUIDSerializer(),
]


@pytest.mark.parametrize(("serializer", "value", "expected"), OF_JAVA, ids=repr)
def test_bytes_are_those_of_java(serializer: Serializer, value: object, expected: str) -> None:
    made = serializer("orders", value, None)
    assert isinstance(made, bytes)
    assert made.hex() == expected


@pytest.mark.parametrize("serializer", EVERY, ids=repr)
def test_none_stays_none_and_a_stranger_is_named(serializer: Serializer) -> None:
    assert serializer("orders", None, [("name", b"value")]) is None
    with pytest.raises(SerializationError) as caught:
        serializer("orders", ["two", "coffees"], None)
    assert "'orders'" in str(caught.value)
    assert "['two', 'coffees'] (list)" in str(caught.value)
    assert isinstance(caught.value, RecordValidationError)


@pytest.mark.parametrize(
    ("serializer", "value", "text"),
    [
        (IntegerSerializer(), 2**31, "an int of 32 bits, from -2147483648 to 2147483647, got 2147483648"),
        (IntegerSerializer(), -(2**31) - 1, "from -2147483648 to 2147483647, got -2147483649"),
        (ShortSerializer(), 32768, "an int of 16 bits"),
        (LongSerializer(), 2**63, "an int of 64 bits"),
        (LongSerializer(), 10**5000, "got a very long number (int)"),
        (LongSerializer(), True, "takes int or None, got True (bool)"),
        (LongSerializer(), 1.0, "takes int or None, got 1.0 (float)"),
        (FloatSerializer(), 1e39, "fits 4 bytes, got 1e+39 (float)"),
        (DoubleSerializer(), 10**400, "fits 8 bytes, got 1000"),
        (DoubleSerializer(), True, "takes float, int or None, got True (bool)"),
        (BooleanSerializer(), 1, "takes bool or None, got 1 (int)"),
        (StringSerializer(), b"bytes", "takes str or None, got b'bytes' (bytes)"),
        (StringSerializer(), "a\ud800b", "cannot be encoded as utf-8: surrogates not allowed at position 1"),
        (StringSerializer("ascii"), "caf\u00e9", "cannot be encoded as ascii"),
        (BytesSerializer(), "text", "takes bytes, bytearray, memoryview or None, got 'text' (str)"),
        (UUIDSerializer(), "01234567-89ab-cdef-0123-456789abcdef", "takes uuid.UUID or None"),
    ],
    ids=lambda given: type(given).__name__,  # some of these numbers Python does not write out
)
def test_what_does_not_fit_is_refused(serializer: Serializer, value: object, text: str) -> None:
    with pytest.raises(SerializationError) as caught:
        serializer("orders", value, None)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 300


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_comes_back(text: str) -> None:
    made = StringSerializer()("orders", text)
    assert made is not None
    assert made.decode() == text


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.uuids())
def test_numbers_come_back(whole: int, floating: float, identity: uuid.UUID) -> None:
    assert struct.unpack(">q", LongSerializer()("t", whole) or b"") == (whole,)
    assert struct.unpack(">d", DoubleSerializer()("t", floating) or b"") == (floating,)
    assert uuid.UUID((UUIDSerializer()("t", identity) or b"").decode()) == identity


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_are_left_alone(kind: type) -> None:
    made = BytesSerializer()("orders", kind(b"\x00\xff"))
    assert (made, type(made)) == (b"\x00\xff", bytes)


@pytest.mark.parametrize("encoding", ["no such thing", "hex", "rot13", 5])
def test_an_encoding_that_is_none_is_refused(encoding: Any) -> None:
    with pytest.raises(ConfigError, match=r"^encoding must be a text encoding") as caught:
        StringSerializer(encoding)
    assert caught.value.option == "encoding"
