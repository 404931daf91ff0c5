"""The hashes of keys in plain Python, each from its definition."""

from __future__ import annotations

import struct

WORD = 2**64 - 1


def siphash13_of_slice(data: bytes) -> int:
    """SipHash-1-3 with the key (0, 0) of a length as 64 bits, little-endian, and the bytes (unsigned)."""
    return siphash(struct.pack("<Q", len(data)) + data, compress=1, finish=3)


def siphash(data: bytes, *, compress: int, finish: int) -> int:
    """SipHash with the key (0, 0), from its paper (Aumasson, Bernstein 2012)."""
    state = [int.from_bytes(b"somepseudorandomlygeneratedbytes"[at : at + 8], "big") for at in (0, 8, 16, 24)]

    def rotate(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & WORD

    def round_() -> None:
        v0, v1, v2, v3 = state
        v0 = v0 + v1 & WORD
        v2 = v2 + v3 & WORD
        v1 = rotate(v1, 13) ^ v0
        v3 = rotate(v3, 16) ^ v2
        v0 = rotate(v0, 32)
        v2 = v2 + v1 & WORD
        v0 = v0 + v3 & WORD
        v1 = rotate(v1, 17) ^ v2
        v3 = rotate(v3, 21) ^ v0
        state[:] = v0, v1, rotate(v2, 32), v3

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", padded):
        state[3] ^= word
        for _ in range(compress):
            round_()
        state[0] ^= word
    state[2] ^= 0xFF
    for _ in range(finish):
        round_()
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def fnv1a(data: bytes) -> int:
    """The absolute value of the signed 32-bit FNV-1a."""
    hashed = 0x811C9DC5
    for byte in data:
        hashed = (hashed ^ byte) * 0x01000193 % 2**32
    return abs(hashed - 2**32 if hashed >= 2**31 else hashed)


def murmur2_of_kafka(data: bytes) -> int:
    """Kafka's 32-bit MurmurHash2 (org.apache.kafka.common.utils.Utils), unsigned, written from the algorithm."""
    mask, factor = 0xFFFFFFFF, 0x5BD1E995
    state = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for (word,) in struct.iter_unpack("<I", data[:whole]):
        mixed = word * factor & mask
        mixed = (mixed ^ mixed >> 24) * factor & mask
        state = state * factor & mask ^ mixed
    if tail := data[whole:]:
        state = (state ^ int.from_bytes(tail, "little")) * factor & mask
    state = (state ^ state >> 13) * factor & mask
    return state ^ state >> 15
