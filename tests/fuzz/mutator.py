"""Sound frames into spoilt ones: bits, bytes, lengths, slices and tagged fields changed by a seeded hand."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

HEADER_BYTES = 4
"""The correlation id, nearly always left alone: with a wrong one nothing behind it is looked at."""

_INT16 = [0, 1, -1, -2, 2**15 - 1, -(2**15), 2**8]
_INT32 = [0, 1, -1, -2, 2**31 - 1, -(2**31), 2**20, 2**16, 2**15, 1000]
_UVARINT = [0, 1, 2, 127, 128, 2**14, 2**15, 2**15 + 1, 2**20, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**35]
_RUNS = [b"\xff" * size for size in (1, 2, 4, 5, 6, 9, 10, 20)] + [
    b"\x80" * size for size in (1, 4, 5, 10, 20)
]
_TAGS = [0, 1, 2, 3, 5, 127, 128, 2**31 - 1, 2**32 - 1, 2**32, 2**32 + 1, 2**34]
_BYTES = [0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xFE, 0xFF]
_SURROGATES = [b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xfe", b"\xe2\x82"]


def uvarint(value: int) -> bytes:
    """An unsigned varint as Kafka sends it, of any size."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def mutated(random: Random, frame: bytes, other: bytes) -> bytes:
    """The frame with one to five things changed; `other` is what it may be spliced with."""
    body = bytearray(frame)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5))):
        random.choice(_CHANGES)(random, body, other)
    if random.random() < 0.02:
        body[:HEADER_BYTES] = struct.pack(">i", random.choice(_INT32))
    return bytes(body)


def stream_of(random: Random, body: bytes) -> list[bytes]:
    """The bytes as they arrive: a size, which lies now and then, and the body, in one piece or several."""
    size = len(body)
    chance = random.random()
    if chance < 0.04:
        size = random.choice(_INT32)
    elif chance < 0.08:
        size = max(0, size + random.choice((-5, -1, 1, 2, 50)))
    data = struct.pack(">i", size) + body
    if random.random() < 0.02:
        data += data
    if random.random() < 0.9:
        return [data]
    cuts = sorted(random.randrange(len(data)) for _ in range(random.randint(1, 4)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def _at(random: Random, body: bytearray) -> int:
    """A place behind the correlation id; the end is one too."""
    return random.randint(HEADER_BYTES, max(HEADER_BYTES, len(body)))


def _flip_bit(random: Random, body: bytearray, _other: bytes) -> None:
    if (at := _at(random, body)) < len(body):
        body[at] ^= 1 << random.randrange(8)


def _set_byte(random: Random, body: bytearray, _other: bytes) -> None:
    if (at := _at(random, body)) < len(body):
        body[at] = random.choice(_BYTES) if random.random() < 0.7 else random.randrange(256)


def _add_to_byte(random: Random, body: bytearray, _other: bytes) -> None:
    if (at := _at(random, body)) < len(body):
        body[at] = (body[at] + random.choice((-2, -1, 1, 2))) % 256


def _truncate(random: Random, body: bytearray, _other: bytes) -> None:
    del body[_at(random, body) :]


def _extend(random: Random, body: bytearray, _other: bytes) -> None:
    size = random.choice((1, 2, 3, 8, 60, 2000))
    body += bytes(size) if random.random() < 0.5 else random.randbytes(size)


def _splice(random: Random, body: bytearray, other: bytes) -> None:
    body[_at(random, body) :] = other[random.randint(0, len(other)) :]


def _overwrite_length(random: Random, body: bytearray, _other: bytes) -> None:
    at = _at(random, body)
    length = _length(random, len(body) - at)
    body[at : at + len(length)] = length


def _insert_length(random: Random, body: bytearray, _other: bytes) -> None:
    at = _at(random, body)
    body[at:at] = _length(random, len(body) - at)


def _length(random: Random, left: int) -> bytes:
    """A length in one of Kafka's encodings: an awkward number, or about as many as there are bytes left."""
    kind = random.randrange(4)
    near = random.random() < 0.5
    value = max(0, left + random.randint(-6, 6)) // random.choice((1, 1, 2, 3, 4, 7))
    if kind == 0:
        return struct.pack(">i", value if near else random.choice(_INT32))
    if kind == 1:
        return struct.pack(">h", min(value, 2**15 - 1) if near else random.choice(_INT16))
    if kind == 2:
        return uvarint(value if near else random.choice(_UVARINT))
    return random.choice(_RUNS)


def _duplicate(random: Random, body: bytearray, _other: bytes) -> None:
    start = _at(random, body)
    piece = body[start : start + random.choice((1, 2, 4, 8, 16, 40))]
    body[start:start] = piece * random.choice((1, 1, 2, 10))


def _remove(random: Random, body: bytearray, _other: bytes) -> None:
    start = _at(random, body)
    del body[start : start + random.choice((1, 2, 4, 8, 16, 40))]


def _insert_tagged(random: Random, body: bytearray, _other: bytes) -> None:
    """Where a zero may say that there are no tagged fields, some."""
    zeros = [at for at in range(HEADER_BYTES, len(body)) if not body[at]]
    if not zeros:
        return
    at = random.choice(zeros)
    count = random.choice((1, 1, 2, 3, 20))
    fields = bytearray()
    for _ in range(count):
        value = random.randbytes(random.choice((0, 1, 2, 4, 8, 9, 30)))
        size = len(value) if random.random() < 0.8 else random.choice(_UVARINT)
        fields += uvarint(random.choice(_TAGS)) + uvarint(size) + value
    body[at : at + 1] = uvarint(count) + fields


def _lengthen_text(random: Random, body: bytearray, _other: bytes) -> None:
    """Where a text's length may be, that of a longer one, up to more than Kafka allows."""
    at = _at(random, body)
    size = random.choice((2**15 - 1, 2**15, 40_000)) if random.random() < 0.1 else random.randint(1, 300)
    # In place of a text of few bytes, or in front of what is there.
    body[at : at + random.choice((0, 1, 7))] = uvarint(size + 1) + b"x" * size


def _spoil_text(random: Random, body: bytearray, _other: bytes) -> None:
    at = _at(random, body)
    text = random.choice(_SURROGATES)
    body[at : at + len(text)] = text


_CHANGES: tuple[Callable[[Random, bytearray, bytes], None], ...] = (
    _flip_bit,
    _set_byte,
    _set_byte,
    _add_to_byte,
    _add_to_byte,
    _truncate,
    _extend,
    _splice,
    _overwrite_length,
    _overwrite_length,
    _insert_length,
    _duplicate,
    _remove,
    _insert_tagged,
    _insert_tagged,
    _lengthen_text,
    _spoil_text,
)
