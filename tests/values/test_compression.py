"""Codecs: what they write is what Kafka's readers take, and what they read cannot fill memory."""

from __future__ import annotations

import gzip
import random
import struct
import sys
from typing import Any

import lz4.frame
import pytest
import snappy
import zstandard
from anyio import to_thread
from hypothesis import given, settings
from hypothesis import strategies as st

from krafka.compression import Compression, compressor, decompressor
from krafka.errors import ConfigError, ProtocolError

PACKED = [codec for codec in Compression if codec is not Compression.NONE]
LEVELLED = [Compression.GZIP, Compression.LZ4, Compression.ZSTD]

_source = random.Random(7)
RECORDS = b"".join(b'{"user": %d, "page": "/basket"}' % _source.randrange(10**6) for _ in range(8000))
NOISE = _source.randbytes(200_000)
SAMPLES = {"empty": b"", "byte": b"x", "records": RECORDS, "noise": NOISE, "zeros": bytes(300_000)}


def test_samples_span_several_blocks_of_every_codec() -> None:
    assert min(len(RECORDS), len(NOISE)) > 2 * 65536


def test_ids_are_those_of_a_batchs_attributes() -> None:
    assert [codec.id for codec in Compression] == [0, 1, 2, 3, 4]
    assert [codec.value for codec in Compression] == ["none", "gzip", "snappy", "lz4", "zstd"]


@pytest.mark.parametrize("codec", Compression)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("sample", SAMPLES)
def test_round_trip(codec: Compression, kind: type, sample: str) -> None:
    data = SAMPLES[sample]
    packed = compressor(codec)(kind(data))
    assert type(packed) is bytes
    assert decompressor(codec)(kind(packed), len(data)) == data


@pytest.mark.parametrize("codec", PACKED)
def test_repetitive_data_shrinks(codec: Compression) -> None:
    assert len(compressor(codec)(RECORDS)) < len(RECORDS) / 2


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=3000), repeat=st.integers(1, 60), codec=st.sampled_from(Compression))
def test_round_trip_of_anything(data: bytes, repeat: int, codec: Compression) -> None:
    whole = data * repeat
    assert decompressor(codec)(compressor(codec)(whole), len(whole)) == whole


@pytest.mark.parametrize("codec", LEVELLED)
def test_every_end_of_the_range_of_levels_works(codec: Compression) -> None:
    levels = codec.levels
    assert levels is not None
    sizes = []
    for level in (levels[0], levels[-1]):
        packed = compressor(codec, level)(RECORDS[:100_000])
        assert decompressor(codec)(packed, 100_000) == RECORDS[:100_000]
        sizes.append(len(packed))
    assert sizes[0] > sizes[1]


@pytest.mark.parametrize(("codec", "low", "high"), [("gzip", -1, 9), ("lz4", 1, 17), ("zstd", -131072, 22)])
def test_levels_outside_the_range_are_refused(codec: str, low: int, high: int) -> None:
    for level in (low - 1, high + 1):
        with pytest.raises(ConfigError) as raised:
            compressor(Compression(codec), level)
        assert str(raised.value) == (
            f"compression_level must be between {low} and {high} for compression '{codec}', got {level}"
        )
        assert raised.value.option == "compression_level"


@pytest.mark.parametrize("codec", [Compression.NONE, Compression.SNAPPY])
def test_a_level_for_a_codec_without_levels_is_refused(codec: Compression) -> None:
    with pytest.raises(ConfigError, match=f"compression_level .*'{codec.value}'.*no levels.*got 1"):
        compressor(codec, 1)


@pytest.mark.parametrize("level", ["3", 3.0, True])
def test_a_level_that_is_no_int_is_refused(level: Any) -> None:
    with pytest.raises(ConfigError, match="compression_level must be int or None, got"):
        compressor(Compression.ZSTD, level)


@pytest.mark.parametrize(
    ("codec", "module", "install"),
    [
        ("snappy", "snappy", "pip install python-snappy"),
        ("lz4", "lz4.frame", "pip install lz4"),
        pytest.param(
            "zstd",
            "zstandard",
            "pip install zstandard",
            marks=pytest.mark.skipif(sys.version_info >= (3, 14), reason="the standard library has zstd"),
        ),
    ],
)
def test_a_missing_library_is_named_with_its_remedy(
    codec: str, module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for make in (compressor, decompressor):
        with pytest.raises(ConfigError, match=install) as raised:
            make(Compression(codec))
        assert raised.value.option == "compression"
        assert isinstance(raised.value.__cause__, ImportError)


def test_libraries_are_imported_only_for_the_codec_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("snappy", "lz4.frame", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    assert compressor(Compression.NONE)(b"x") == b"x"
    assert gzip.decompress(compressor(Compression.GZIP)(b"x")) == b"x"


# What Kafka's own readers need to see.


def test_snappy_is_framed_as_by_xerial() -> None:
    packed = compressor(Compression.SNAPPY)(RECORDS)
    assert packed[:16] == bytes.fromhex("82534e41505059000000000100000001")
    position, plain = 16, b""
    while position < len(packed):
        (length,) = struct.unpack_from(">i", packed, position)
        block = snappy.uncompress(packed[position + 4 : position + 4 + length])
        position += 4 + length
        assert len(block) == 32768 or position == len(packed)
        plain += block
    assert plain == RECORDS


def test_raw_snappy_is_read_too() -> None:
    assert decompressor(Compression.SNAPPY)(snappy.compress(RECORDS), len(RECORDS)) == RECORDS


@pytest.mark.parametrize("level", [None, 1, 9, 17])
def test_lz4_blocks_are_independent_and_of_64_kib(level: int | None) -> None:
    packed = compressor(Compression.LZ4, level)(RECORDS)
    info = lz4.frame.get_frame_info(packed)
    assert info["block_linked"] is False
    assert info["block_size"] == 65536
    assert packed[4] == 0x60  # version 1, independent blocks, no checksums, no size: Java's own flags


def test_lz4_without_a_level_is_the_fast_mode() -> None:
    assert len(compressor(Compression.LZ4)(RECORDS)) > len(compressor(Compression.LZ4, 9)(RECORDS))


def test_gzip_is_one_plain_member_at_javas_default_level() -> None:
    packed = compressor(Compression.GZIP)(RECORDS)
    assert gzip.decompress(packed) == RECORDS
    assert packed == compressor(Compression.GZIP, -1)(RECORDS) == compressor(Compression.GZIP, 6)(RECORDS)


def test_gzip_of_several_members_is_read_whole() -> None:
    joined = gzip.compress(b"one") + gzip.compress(b"two")
    assert decompressor(Compression.GZIP)(joined, 6) == b"onetwo"


def test_zstd_without_a_declared_size_is_read_as_java_writes_it() -> None:
    packed = zstandard.ZstdCompressor(write_content_size=False).compress(RECORDS)
    assert zstandard.frame_content_size(packed) == -1
    read = decompressor(Compression.ZSTD)
    assert read(packed, len(RECORDS)) == RECORDS
    for limit in (len(RECORDS) - 1, 10):
        with pytest.raises(ProtocolError, match=str(limit)):
            read(packed, limit)


# Hostile bytes.


@pytest.mark.parametrize("codec", Compression)
@pytest.mark.parametrize("sample", ["byte", "records", "zeros"])
def test_a_result_above_the_limit_is_refused(codec: Compression, sample: str) -> None:
    data = SAMPLES[sample]
    packed = compressor(codec)(data)
    limit = len(data) - 1
    with pytest.raises(ProtocolError, match=f"more than the {limit} bytes allowed"):
        decompressor(codec)(packed, limit)


def test_a_snappy_block_that_lies_about_its_size_costs_no_memory() -> None:
    lie = b"\xff\xff\xff\xff\x0f" + b"\x00" * 10
    with pytest.raises(ProtocolError, match="more than the 1000 bytes allowed"):
        decompressor(Compression.SNAPPY)(lie, 1000)


@pytest.mark.parametrize("codec", PACKED)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.999])
def test_cut_data_is_refused(codec: Compression, kept: float) -> None:
    packed = compressor(codec)(RECORDS)
    with pytest.raises(ProtocolError, match=f"{codec.value} data cannot be decompressed"):
        decompressor(codec)(packed[: int(len(packed) * kept)], len(RECORDS))


@pytest.mark.parametrize("codec", PACKED)
def test_data_that_was_never_compressed_is_refused(codec: Compression) -> None:
    for junk in (b"\xff" * 40, b"\x80"):
        with pytest.raises(ProtocolError, match=codec.value):
            decompressor(codec)(junk, 1_000_000)


@pytest.mark.parametrize(
    "tail", [b"\x00\x00", struct.pack(">i", -1), struct.pack(">i", 0), struct.pack(">i", 99) + b"ab"]
)
def test_a_broken_snappy_frame_is_refused(tail: bytes) -> None:
    packed = compressor(Compression.SNAPPY)(b"x") + tail
    with pytest.raises(ProtocolError, match="snappy data cannot be decompressed"):
        decompressor(Compression.SNAPPY)(packed, 100)
    with pytest.raises(ProtocolError, match="header"):
        decompressor(Compression.SNAPPY)(packed[:12], 100)


@pytest.mark.parametrize("codec", [Compression.LZ4, Compression.ZSTD])
def test_bytes_after_the_end_are_refused(codec: Compression) -> None:
    with pytest.raises(ProtocolError, match=codec.value):
        decompressor(codec)(compressor(codec)(RECORDS) + b"zz", len(RECORDS))


@settings(max_examples=150, deadline=None)
@given(
    codec=st.sampled_from(PACKED),
    position=st.integers(0, 10**9),
    bit=st.integers(0, 7),
    sample=st.sampled_from(["byte", "records"]),
)
def test_a_flipped_bit_never_gives_more_than_asked_or_another_error(
    codec: Compression, position: int, bit: int, sample: str
) -> None:
    data = SAMPLES[sample][:5000]
    packed = bytearray(compressor(codec)(data))
    packed[position % len(packed)] ^= 1 << bit
    try:
        plain = decompressor(codec)(packed, len(data))
    except ProtocolError:
        return
    assert len(plain) <= len(data)


@pytest.mark.anyio
async def test_one_compressor_serves_several_threads(anyio_backend: object) -> None:
    import anyio

    results: list[bytes] = []

    async def run(codec: Compression, pack: Any, data: bytes) -> None:
        packed = await to_thread.run_sync(pack, data)
        results.append(decompressor(codec)(packed, len(data)))

    async with anyio.create_task_group() as group:
        for codec in (Compression.GZIP, Compression.ZSTD):
            pack = compressor(codec)
            for data in (RECORDS, NOISE):
                group.start_soon(run, codec, pack, data)
    assert sorted(results) == sorted([RECORDS, NOISE] * 2)
