"""Kafka's codecs: names, levels, and functions that compress and decompress the records of a batch."""

from __future__ import annotations

import importlib
import math
import struct
import sys
import threading
import zlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from krafka.errors import ConfigError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.records import BytesLike

Compressor: TypeAlias = "Callable[[BytesLike], bytes]"
"""Compresses all of a batch's records at once. Safe to call from several threads."""

Decompressor: TypeAlias = "Callable[[BytesLike, int], bytes]"
"""Takes the compressed bytes and the largest size the result may have; raises `ProtocolError`."""

_GZIP_WINDOW = 31  # the largest deflate window (15), plus 16 for a gzip header instead of zlib's

_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)  # version, oldest compatible version
_XERIAL_BLOCK = 32 * 1024
_INT32 = struct.Struct(">i")

_LZ4_STRONGEST = 16  # Java's scale goes to 17; the lz4 library's ends here

_ZSTD_IN_STDLIB = sys.version_info >= (3, 14)


class Compression(StrEnum):
    """What batches are compressed with; the values are Kafka's `compression.type`."""

    NONE = "none"
    GZIP = "gzip"
    SNAPPY = "snappy"
    LZ4 = "lz4"
    ZSTD = "zstd"

    @property
    def id(self) -> int:
        """The codec's number in a batch's attributes, 0 to 4."""
        return _IDS[self]

    @property
    def levels(self) -> range | None:
        """The levels `compression_level` may have, or None for a codec without levels.

        gzip -1 to 9 (-1 is zlib's default, 6), lz4 1 to 17 (1 and 2 are the fast mode, more is the
        slower high-compression mode), zstd -131072 to 22 (KIP-390).
        """
        return _CODECS[self].levels


class _Codec(NamedTuple):
    levels: range | None
    module: str | None
    distribution: str | None


_IDS = {codec: number for number, codec in enumerate(Compression)}

_CODECS = {
    Compression.NONE: _Codec(None, None, None),
    Compression.GZIP: _Codec(range(-1, 10), "zlib", None),
    Compression.SNAPPY: _Codec(None, "snappy", "python-snappy"),
    Compression.LZ4: _Codec(range(1, 18), "lz4.frame", "lz4"),
    Compression.ZSTD: _Codec(
        range(-131072, 23),
        "compression.zstd" if _ZSTD_IN_STDLIB else "zstandard",
        None if _ZSTD_IN_STDLIB else "zstandard",
    ),
}


_KIB = 1024
_MOMENTS: dict[Compression, tuple[tuple[int | None, int], ...]] = {
    # From which level on, and how many bytes; the last is for what is below, and for the default.
    Compression.SNAPPY: ((None, 256 * _KIB),),
    Compression.LZ4: ((10, 2 * _KIB), (3, 8 * _KIB), (None, 448 * _KIB)),
    Compression.ZSTD: ((13, 2 * _KIB), (10, 16 * _KIB), (7, 32 * _KIB), (4, 64 * _KIB), (None, 256 * _KIB)),
    Compression.GZIP: ((8, 8 * _KIB), (4, 32 * _KIB), (0, 64 * _KIB), (None, 32 * _KIB)),
}


def load_codec(compression: Compression) -> Any:
    """The library behind a codec, imported on first use; None for "none".

    Raises `ConfigError` with what to install where it is missing.
    """
    codec = _CODECS[compression]
    if codec.module is None:
        return None
    try:
        return importlib.import_module(codec.module)
    except ImportError as error:
        if codec.distribution is None:
            remedy = f"this Python was built without it ({codec.module})"
        else:
            remedy = f"pip install {codec.distribution}"
        raise ConfigError(
            f"compression {compression.value!r} needs a library that cannot be imported: {remedy}",
            option="compression",
        ) from error


def check_level(compression: Compression, level: object) -> None:
    """Raise `ConfigError` unless `level` (None: the codec's default) fits the codec."""
    if level is None:
        return
    if not isinstance(level, int) or isinstance(level, bool):
        raise ConfigError(
            f"compression_level must be int or None, got {level!r} ({type(level).__name__})",
            option="compression_level",
        )
    levels = compression.levels
    if levels is None:
        raise ConfigError(
            f"compression_level must be left out for compression {compression.value!r}, "
            f"which has no levels, got {level}",
            option="compression_level",
        )
    if level not in levels:
        raise ConfigError(
            f"compression_level must be between {levels[0]} and {levels[-1]} "
            f"for compression {compression.value!r}, got {level}",
            option="compression_level",
        )


def compressor(compression: Compression, level: int | None = None) -> Compressor:
    """A function that compresses with this codec and level (None: the codec's default).

    Raises `ConfigError` for a level out of range or a codec whose library is missing.
    """
    check_level(compression, level)
    library = load_codec(compression)
    if compression is Compression.NONE:
        return bytes
    if compression is Compression.GZIP:
        return _gzip_compressor(-1 if level is None else level)
    if compression is Compression.SNAPPY:
        return _snappy_compressor(library)
    if compression is Compression.LZ4:
        return _lz4_compressor(library, 0 if level is None else min(level, _LZ4_STRONGEST))
    make = _stdlib_zstd_compressor if _ZSTD_IN_STDLIB else _zstandard_compressor
    return make(library, 3 if level is None else level)


def bytes_in_a_moment(compression: Compression, level: int | None = None) -> float:
    """How many bytes of text a codec compresses in half a millisecond or so, on a processor that is not fast.

    Measured on JSON-like records (docs/performance.md). What takes longer is a worker thread's work: to hand it over
    costs about a tenth of that, and an event loop that stands still for more than a millisecond shows.
    """
    if compression is Compression.NONE:
        return math.inf
    for from_level, size in _MOMENTS[compression]:
        if from_level is None or (level is not None and level >= from_level):
            return size
    raise AssertionError("unreachable: each table ends with None")


def decompressor(compression: Compression) -> Decompressor:
    """The inverse of `compressor`; its result is limited, so that hostile bytes cannot fill memory.

    The function raises `ProtocolError` for damaged or cut bytes and for a result above the limit.
    """
    library = load_codec(compression)
    if compression is Compression.NONE:
        decompress: Decompressor = _plain_copy
    elif compression is Compression.GZIP:
        decompress = _gunzip
    elif compression is Compression.SNAPPY:
        decompress = _snappy_decompressor(library)
    elif compression is Compression.LZ4:
        decompress = _lz4_decompressor(library)
    elif _ZSTD_IN_STDLIB:
        decompress = _stdlib_zstd_decompressor(library)
    else:
        decompress = _zstandard_decompressor(library)
    return decompress


def _too_large(codec: str, limit: int) -> ProtocolError:
    return ProtocolError(f"{codec} data decompresses to more than the {limit} bytes allowed")


def _damaged(codec: str, why: object) -> ProtocolError:
    return ProtocolError(f"{codec} data cannot be decompressed: {why}")


def _plain_copy(data: BytesLike, limit: int) -> bytes:
    copy = bytes(data)
    if len(copy) > limit:
        raise _too_large("uncompressed", limit)
    return copy


def _gzip_compressor(level: int) -> Compressor:
    def compress(data: BytesLike) -> bytes:
        return zlib.compress(data, level, wbits=_GZIP_WINDOW)

    return compress


def _gunzip(data: BytesLike, limit: int) -> bytes:
    """Every member of a gzip stream; the format allows several in a row."""
    parts: list[bytes] = []
    room = limit
    rest = bytes(data)
    while True:
        member = zlib.decompressobj(_GZIP_WINDOW)
        try:
            part = member.decompress(rest, room + 1)
        except zlib.error as error:
            raise _damaged("gzip", error) from error
        room -= len(part)
        if room < 0:
            raise _too_large("gzip", limit)
        if not member.eof:
            raise _damaged("gzip", "the data ends too early")
        parts.append(part)
        rest = member.unused_data
        if not rest:
            return b"".join(parts)


def _snappy_compressor(snappy: Any) -> Compressor:
    """Snappy blocks in the framing of Java's `SnappyOutputStream`, which every Kafka client reads."""

    def compress(data: BytesLike) -> bytes:
        view = memoryview(data).cast("B")
        parts = [_XERIAL_HEADER]
        for start in range(0, len(view), _XERIAL_BLOCK):
            block: bytes = snappy.compress(view[start : start + _XERIAL_BLOCK])
            parts += (_INT32.pack(len(block)), block)
        return b"".join(parts)

    return compress


def _snappy_decompressor(snappy: Any) -> Decompressor:
    def block(data: bytes, limit: int, room: int) -> bytes:
        if _snappy_length(data) > room:
            raise _too_large("snappy", limit)
        try:
            plain: bytes = snappy.uncompress(data)
        except snappy.UncompressError as error:
            raise _damaged("snappy", error.__cause__ or error) from error
        return plain

    def decompress(data: BytesLike, limit: int) -> bytes:
        whole = bytes(data)
        if not whole.startswith(_XERIAL_MAGIC):
            return block(whole, limit, limit)
        parts: list[bytes] = []
        room = limit
        position = len(_XERIAL_HEADER)
        if len(whole) < position:
            raise _damaged("snappy", "the header ends too early")
        while position < len(whole):
            if position + _INT32.size > len(whole):
                raise _damaged("snappy", "a block's length ends too early")
            (length,) = _INT32.unpack_from(whole, position)
            position += _INT32.size
            if not 0 < length <= len(whole) - position:
                raise _damaged("snappy", f"a block of {length} bytes where {len(whole) - position} are left")
            part = block(whole[position : position + length], limit, room)
            room -= len(part)
            parts.append(part)
            position += length
        return b"".join(parts)

    return decompress


def _snappy_length(data: bytes) -> int:
    """The uncompressed length a raw snappy block declares at its start."""
    length = 0
    for index, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return length
    raise _damaged("snappy", "a block does not start with its length")


def _lz4_compressor(frame: Any, level: int) -> Compressor:
    def compress(data: BytesLike) -> bytes:
        compressed: bytes = frame.compress(
            data,
            compression_level=level,
            block_size=frame.BLOCKSIZE_MAX64KB,
            block_linked=False,  # Kafka's reader refuses a frame whose blocks depend on each other
            store_size=False,
        )
        return compressed

    return compress


def _lz4_decompressor(frame: Any) -> Decompressor:
    def decompress(data: BytesLike, limit: int) -> bytes:
        reader = frame.LZ4FrameDecompressor()
        try:
            plain: bytes = reader.decompress(data, max_length=limit + 1)
        except (RuntimeError, EOFError) as error:
            raise _damaged("lz4", error) from error
        if len(plain) > limit:
            raise _too_large("lz4", limit)
        if not reader.eof:
            raise _damaged("lz4", "the data ends too early")
        if reader.unused_data:
            raise _damaged("lz4", "there are bytes after the end of the frame")
        return plain

    return decompress


class _PerThread(threading.local):
    """One reused context for each thread: making one costs more than compressing a small batch."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.context = make()


def _zstandard_compressor(zstandard: Any, level: int) -> Compressor:
    local = _PerThread(lambda: zstandard.ZstdCompressor(level=level))

    def compress(data: BytesLike) -> bytes:
        compressed: bytes = local.context.compress(data)
        return compressed

    return compress


def _zstandard_decompressor(zstandard: Any) -> Decompressor:
    local = _PerThread(zstandard.ZstdDecompressor)

    def decompress(data: BytesLike, limit: int) -> bytes:
        try:
            declared = zstandard.frame_content_size(data)
        except zstandard.ZstdError as error:
            raise _damaged("zstd", error) from error
        if declared > limit:
            raise _too_large("zstd", limit)
        # The library wants a bound only where the frame does not declare its size; to it 0 means none.
        bound, hint = (0, "") if declared >= 0 else (limit + 1, f", or more than the {limit} bytes allowed")
        try:
            plain: bytes = local.context.decompress(data, max_output_size=bound, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise _damaged("zstd", f"{error}{hint}") from error
        if len(plain) > limit:
            raise _too_large("zstd", limit)
        return plain

    return decompress


def _stdlib_zstd_compressor(zstd: Any, level: int) -> Compressor:
    local = _PerThread(lambda: zstd.ZstdCompressor(level=level))

    def compress(data: BytesLike) -> bytes:
        context = local.context
        compressed: bytes = context.compress(data, mode=context.FLUSH_FRAME)
        return compressed

    return compress


def _stdlib_zstd_decompressor(zstd: Any) -> Decompressor:
    def decompress(data: BytesLike, limit: int) -> bytes:
        reader = zstd.ZstdDecompressor()
        try:
            plain: bytes = reader.decompress(data, max_length=limit + 1)
        except (zstd.ZstdError, EOFError) as error:
            raise _damaged("zstd", error) from error
        if len(plain) > limit:
            raise _too_large("zstd", limit)
        if not reader.eof:
            raise _damaged("zstd", "the data ends too early")
        if reader.unused_data:
            raise _damaged("zstd", "there are bytes after the end of the frame")
        return plain

    return decompress
