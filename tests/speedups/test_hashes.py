"""The hashes of keys and CRC-32C: known answers, and the same ones whatever the bytes come in."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from golden.judge import many_keys, murmur2_digests, murmur2_vectors
from hypothesis import given
from hypothesis import strategies as st
from oracle import key_hashes as oracle

from krafka._speedups.checksum import crc32c
from krafka._speedups.key_hashes import crc32, fnv1a, siphash13
from krafka._speedups.murmur2 import murmur2

if TYPE_CHECKING:
    from collections.abc import Callable

CASTAGNOLI_REVERSED = 0x82F63B78


def plain_crc32c(data: bytes) -> int:
    """Bit by bit, from the definition."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (CASTAGNOLI_REVERSED if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def test_murmur2_is_javas() -> None:
    for key, digest, of_six, of_hundred in murmur2_vectors():
        assert murmur2(key) == digest
        assert (murmur2(key) & 0x7FFFFFFF) % 6 == of_six
        assert (murmur2(key) & 0x7FFFFFFF) % 100 == of_hundred


def test_murmur2_is_javas_for_many_more_keys() -> None:
    hashes = b"".join(murmur2(key).to_bytes(4, "big", signed=True) for key in many_keys())
    assert len(hashes) == 400_000
    assert sha256(hashes).hexdigest() == murmur2_digests()[0]


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # what Rust's DefaultHasher gives for these slices
        (b"key", 0x2AB0DBC2BF550D79),
        (b"21", 0xF3DDFD340EB22498),
        (b"user-123", 0xF96418BFC5CECBFA),
        (b"12345678", 0x000582B7C2CBC5DF),
    ],
)
def test_siphash13_is_rusts(key: bytes, expected: int) -> None:
    assert siphash13(key) == expected


@given(st.binary(max_size=300))
def test_siphash13_agrees_with_its_definition(key: bytes) -> None:
    assert siphash13(key) == oracle.siphash13_of_slice(key)


def test_siphash13_is_what_python_itself_hashes_bytes_with() -> None:
    """An unseeded Python hashes with the key (0, 0), too."""
    assert sys.hash_info.algorithm == "siphash13"
    keys = [bytes(range(size)) for size in range(40)]
    program = "for n in range(40): print(hash(n.to_bytes(8, 'little') + bytes(range(n))) % 2**64)"
    printed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert [siphash13(key) for key in keys] == [int(line) for line in printed.split()]


@pytest.mark.parametrize(
    ("key", "expected"),
    [  # librdkafka's own, which it has from Go
        (b"kafka", 0x0D33C4E1),
        (b"giberish123456789", 0x77A58295),
        (b"1234", 0x23BDD03),
        (b"234", 0x2DEA3CD2),
        (b"34", 0x740FA83E),
        (b"4", 0x310CA263),
        (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x65CBD69C),
        (b"reAmbleWillBeRemoved,ThePrePartThatIs", 0x6E49C79A),
        (b"eAmbleWillBeRemoved,ThePrePartThatIs", 0x69EED356),
        (b"AmbleWillBeRemoved,ThePrePartThatIs", 0x6ABCC023),
        (b"", 0x7EE3623B),
    ],
)
def test_fnv1a_is_saramas(key: bytes, expected: int) -> None:
    assert fnv1a(key) == expected


@given(st.binary(max_size=70))
def test_fnv1a_agrees_with_its_definition(key: bytes) -> None:
    assert fnv1a(key) == oracle.fnv1a(key)


@given(st.binary(max_size=300))
def test_crc32_is_zlibs(key: bytes) -> None:
    assert crc32(key) == zlib.crc32(key)


@given(st.binary(max_size=70))
def test_murmur2_agrees_with_its_definition(key: bytes) -> None:
    assert murmur2(key) % 2**32 == oracle.murmur2_of_kafka(key)


OF_KEYS = [murmur2, siphash13, fnv1a, crc32]


@pytest.mark.parametrize("of", OF_KEYS)
@given(key=st.binary(max_size=70))
def test_a_hash_takes_any_bytes_like_object(of: Callable[[Any], int], key: bytes) -> None:
    expected = of(key)
    assert of(bytearray(key)) == expected
    # An odd start puts the words where no processor wants them.
    assert of(memoryview(b"x" + key)[1:]) == expected


@pytest.mark.parametrize("of", OF_KEYS)
def test_a_hash_refuses_text(of: Callable[[Any], int]) -> None:
    with pytest.raises(TypeError):
        of("key")


@pytest.mark.parametrize("of", OF_KEYS)
def test_a_hash_lets_go_of_its_argument(of: Callable[[Any], int]) -> None:
    key = bytearray(b"key")
    of(key)
    key.extend(b"more")


def test_crc32c_known_answer() -> None:
    # The check value of RFC 3720's polynomial.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c() == 0


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_crc32c_of_parts_is_that_of_the_whole(parts: list[bytes]) -> None:
    assert crc32c(*parts) == plain_crc32c(b"".join(parts))
    assert crc32c(*map(bytearray, parts)) == crc32c(*map(memoryview, parts)) == crc32c(*parts)
