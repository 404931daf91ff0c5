"""Responses made to be as dear as their bytes allow: the most elements, the most tagged fields, the worst texts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krafka._wire.api import APIS
from krafka._wire.frames import encode_response

from .corpus import CORRELATION_ID, Specimen
from .mutator import uvarint

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE_BYTES = 4
_API_VERSIONS = 18


def adversaries(size: int) -> Iterator[tuple[str, Specimen]]:
    """Sound and unsound responses of about `size` bytes, each with its name."""
    for api in APIS:
        for version in range(api.response.MIN_VERSION, api.response.MAX_VERSION + 1):
            for path, message in _swollen(api.response, version, size):
                frame = b"".join(encode_response(message, version, CORRELATION_ID))[_SIZE_BYTES:]
                yield f"{api.name} v{version} {path}", Specimen(api.request, version, frame)
            if api.response.FLEXIBLE_FROM is not None and version >= api.response.FLEXIBLE_FROM:
                yield from _tagged(api, version, size)


def _swollen(cls: type[Any], version: int, size: int) -> Iterator[tuple[str, Any]]:
    """An instance for each array within it, which has as many of the smallest elements as fit."""
    for field in cls.SCHEMA:
        if not field.versions[0] <= version <= field.versions[1]:
            continue
        if isinstance(field.type, str):
            if field.array:
                item: Any = {"string": "", "uuid": bytes(16)}.get(field.type, 0)
                yield field.name, cls(**{field.name: [item] * (size // 4)})
            continue
        if field.array:
            yield field.name, cls(**{field.name: [field.type() for _ in range(size // 16)]})
        for path, inner in _swollen(field.type, version, size):
            yield f"{field.name}.{path}", cls(**{field.name: [inner] if field.array else inner})


def _tagged(api: Any, version: int, size: int) -> Iterator[tuple[str, Specimen]]:
    """Tagged fields without end: unknown ones, empty ones, and each known number again and again."""
    frame = b"".join(encode_response(api.response(), version, CORRELATION_ID))[_SIZE_BYTES:]
    assert frame.endswith(b"\0"), "the tagged fields of the message come last"
    for tag in (0, 1, 2, 3, 2**31):
        for value in (b"", b"\x01", bytes(8), b"\x02" + bytes(20)):
            one = uvarint(tag) + uvarint(len(value)) + value
            count = size // len(one)
            name = f"{api.name} v{version} tag {tag} of {len(value)} bytes, {count} times"
            yield name, Specimen(api.request, version, frame[:-1] + uvarint(count) + one * count)
            if api.key != _API_VERSIONS:
                head = frame[:4] + uvarint(count) + one * count + frame[5:]
                yield f"{name}, in the header", Specimen(api.request, version, head)
