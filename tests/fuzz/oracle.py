"""A response out of bytes, slowly and plainly, from the same schema tables: a judge of the compiled decoder."""

from __future__ import annotations

import struct
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from krafka._wire.schema import Field, Response

_CORRELATION_ID_BYTES = 4
_API_VERSIONS = 18
_LONGEST_STRING = 32767
_FORMATS = {
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
}


class RefusedError(Exception):
    """The bytes are no such response."""


class _Reader:
    """Bytes from front to back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) < size:
            raise RefusedError("too short")
        self.at += size
        return taken

    def number(self, kind: str) -> Any:
        layout = _FORMATS[kind]
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def uvarint(self) -> int:
        value = 0
        for position in range(5):
            (part,) = self.take(1)
            value += (part % 128) << (7 * position)
            if part < 128:
                if value >= 2**32:
                    break
                return value
        raise RefusedError("more than 32 bits")

    def finish(self) -> None:
        if self.at != len(self.data):
            raise RefusedError("bytes are left")


def decode(cls: type[Response], version: int, frame: bytes) -> Response:
    """The response in a frame without its size. Raises `RefusedError`."""
    reader = _Reader(frame)
    reader.take(_CORRELATION_ID_BYTES)
    flexible = cls.FLEXIBLE_FROM is not None and version >= cls.FLEXIBLE_FROM
    if flexible and cls.API_KEY != _API_VERSIONS:
        for _ in range(reader.uvarint()):
            reader.uvarint()
            reader.take(reader.uvarint())
    response: Response = _struct(reader, cls, version, flexible)
    reader.finish()
    return response


@cache
def _places(cls: type[Any], version: int) -> tuple[list[Field], dict[int, Field]]:
    """The fields that lie in order, and those that carry a tag."""
    ordered = [
        field
        for field in cls.SCHEMA
        if _within(version, field.versions) and not _within(version, field.tagged)
    ]
    tagged = {field.tag: field for field in cls.SCHEMA if _within(version, field.tagged)}
    return ordered, tagged


def _within(version: int, versions: tuple[int, int] | None) -> bool:
    return versions is not None and versions[0] <= version <= versions[1]


def _struct(reader: _Reader, cls: type[Any], version: int, flexible: bool) -> Any:
    ordered, tagged = _places(cls, version)
    values = {field.name: _field(reader, field, version, flexible) for field in ordered}
    if flexible:
        for _ in range(reader.uvarint()):
            tag = reader.uvarint()
            inner = _Reader(reader.take(reader.uvarint()))
            if field := tagged.get(tag):
                values[field.name] = _field(inner, field, version, flexible)
                inner.finish()
    return cls(**values)


def _field(reader: _Reader, field: Field, version: int, flexible: bool) -> Any:
    nullable = _within(version, field.nullable)
    if not field.array:
        return _item(reader, field, version, flexible, nullable=nullable)
    count = reader.uvarint() - 1 if flexible else reader.number("int32")
    if _is_null(count, nullable=nullable):
        return None
    if count > len(reader.data):
        raise RefusedError("more elements than bytes")
    # The elements of a nullable array are not nullable themselves.
    return [_item(reader, field, version, flexible, nullable=False) for _ in range(count)]


def _is_null(length: int, *, nullable: bool) -> bool:
    if length < -1 or (length == -1 and not nullable):
        raise RefusedError("a length that cannot be")
    return length == -1


def _item(reader: _Reader, field: Field, version: int, flexible: bool, *, nullable: bool) -> Any:
    kind = field.type
    if not isinstance(kind, str):
        if nullable and reader.number("int8") < 0:
            return None
        return _struct(reader, kind, version, flexible)
    if kind in _FORMATS:
        return reader.number(kind)
    if kind == "bool":
        return reader.take(1) != b"\0"
    if kind == "uuid":
        return reader.take(16)
    length = reader.uvarint() - 1 if flexible else reader.number("int16" if kind == "string" else "int32")
    if _is_null(length, nullable=nullable):
        return None
    data = reader.take(length)
    if kind != "string":
        return data
    if length > _LONGEST_STRING:
        raise RefusedError("a string too long")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise RefusedError("not UTF-8") from None
