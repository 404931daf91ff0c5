"""Serializers of single values, to the bytes that Kafka's Java client makes of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from uuid import UUID

from krafka.errors import ConfigError, SerializationError
from krafka.serializers._base import refused, shown

if TYPE_CHECKING:
    from krafka.records import Headers


class StringSerializer:
    """Text to bytes in `encoding`, UTF-8 unless given; Java's `StringSerializer`.

    Raises `ConfigError` for an encoding that Python does not know, and `SerializationError` for a value that
    is not str or that the encoding has no bytes for.
    """

    __slots__ = ("_encoding",)

    def __init__(self, encoding: str = "utf-8") -> None:
        try:
            "".encode(encoding)
        except (LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"encoding must be a text encoding that Python knows, such as 'utf-8', got {encoding!r}",
                option="encoding",
            ) from error
        self._encoding = encoding

    def __repr__(self) -> str:
        return f"StringSerializer(encoding={self._encoding!r})"

    def __call__(self, topic: str, value: str | None, headers: Headers | None = None) -> bytes | None:
        """The text's bytes; None for None."""
        if isinstance(value, str):
            try:
                return value.encode(self._encoding)
            except UnicodeEncodeError as error:
                raise SerializationError(
                    f"text for topic {topic!r} cannot be encoded as {self._encoding}: {error.reason} "
                    f"at position {error.start}: {value[error.start : error.end][:10]!r}"
                ) from error
        if value is None:
            return None
        raise refused(topic, "str or None", value)


class BytesSerializer:
    """Bytes as they are, everything else refused: says that a key or value is bytes already.

    Takes bytes, bytearray and memoryview; Java's `ByteArraySerializer`. Raises `SerializationError`.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "BytesSerializer()"

    def __call__(
        self, topic: str, value: bytes | bytearray | memoryview | None, headers: Headers | None = None
    ) -> bytes | None:
        """The same bytes; None for None."""
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, bytearray | memoryview):
            return bytes(value)
        raise refused(topic, "bytes, bytearray, memoryview or None", value)


class _Whole:
    """A signed integer of a fixed width, big-endian."""

    __slots__ = ()

    _bits: int

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __call__(self, topic: str, value: int | None, headers: Headers | None = None) -> bytes | None:
        """The number's bytes; None for None."""
        if isinstance(value, int) and not isinstance(value, bool):
            try:
                return value.to_bytes(self._bits // 8, "big", signed=True)
            except OverflowError as error:
                most = 2 ** (self._bits - 1) - 1
                raise SerializationError(
                    f"serializer for topic {topic!r} takes an int of {self._bits} bits, "
                    f"from {-most - 1} to {most}, got {shown(value)}"
                ) from error
        if value is None:
            return None
        raise refused(topic, "int or None", value)


class ShortSerializer(_Whole):
    """An int from -2**15 to 2**15 - 1 as 2 bytes; Java's `ShortSerializer`. Raises `SerializationError`."""

    __slots__ = ()
    _bits = 16


class IntegerSerializer(_Whole):
    """An int from -2**31 to 2**31 - 1 as 4 bytes; Java's `IntegerSerializer`. Raises `SerializationError`."""

    __slots__ = ()
    _bits = 32


class LongSerializer(_Whole):
    """An int from -2**63 to 2**63 - 1 as 8 bytes; Java's `LongSerializer`. Raises `SerializationError`."""

    __slots__ = ()
    _bits = 64


class _Floating:
    """A floating-point number of IEEE 754, big-endian."""

    __slots__ = ()

    _format: struct.Struct

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __call__(self, topic: str, value: float | None, headers: Headers | None = None) -> bytes | None:
        """The number's bytes; None for None."""
        if isinstance(value, float | int) and not isinstance(value, bool):
            try:
                return self._format.pack(float(value))
            except OverflowError as error:
                raise SerializationError(
                    f"serializer for topic {topic!r} takes a number that fits "
                    f"{self._format.size} bytes, got {shown(value)}"
                ) from error
        if value is None:
            return None
        raise refused(topic, "float, int or None", value)


class FloatSerializer(_Floating):
    """A number rounded to 4 bytes; Java's `FloatSerializer`. Raises `SerializationError` for one too large."""

    __slots__ = ()
    _format = struct.Struct(">f")


class DoubleSerializer(_Floating):
    """A number as 8 bytes; Java's `DoubleSerializer`. Raises `SerializationError` for an int too large."""

    __slots__ = ()
    _format = struct.Struct(">d")


class BooleanSerializer:
    """True as the byte 1, False as the byte 0; Java's `BooleanSerializer`. Raises `SerializationError`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "BooleanSerializer()"

    def __call__(self, topic: str, value: bool | None, headers: Headers | None = None) -> bytes | None:
        """The byte; None for None."""
        if isinstance(value, bool):
            return b"\x01" if value else b"\x00"
        if value is None:
            return None
        raise refused(topic, "bool or None", value)


class UUIDSerializer:
    """A `uuid.UUID` as its 36 characters in UTF-8; Java's `UUIDSerializer`. Raises `SerializationError`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UUIDSerializer()"

    def __call__(self, topic: str, value: UUID | None, headers: Headers | None = None) -> bytes | None:
        """The characters' bytes; None for None."""
        if isinstance(value, UUID):
            return str(value).encode()
        if value is None:
            return None
        raise refused(topic, "uuid.UUID or None", value)
