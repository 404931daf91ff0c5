"""Cut a byte stream from a broker into Kafka's size-prefixed frames, trusting nothing it claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._speedups.wire_decode import int32_at
from krafka.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_PREFIX_BYTES = 4
CORRELATION_ID_BYTES = 4

_TLS_CONTENT_TYPES = frozenset((0x14, 0x15, 0x16, 0x17))
_TLS_MAJOR_VERSION = 0x03


def recognise_foreign_protocol(first_bytes: bytes) -> str | None:
    """What speaks with these first bytes if it is not Kafka, and what to do about it; None when unknown."""
    if (
        len(first_bytes) >= 2
        and first_bytes[0] in _TLS_CONTENT_TYPES
        and first_bytes[1] == _TLS_MAJOR_VERSION
    ):
        return "the port speaks TLS; set tls=True or use the broker's PLAINTEXT port"
    if first_bytes.startswith(b"HTTP"):
        return "an HTTP server answers on this port; check host and port"
    if first_bytes.startswith(b"SSH-"):
        return "an SSH server answers on this port; check host and port"
    return None


class FrameReader:
    """Bytes in, whole frames out, for one connection.

    `max_frame_size` bounds a frame in bytes, without its size prefix; `peer` names the broker in errors.
    What is held never exceeds the bytes that arrived, whatever size a frame claims. After a
    `ProtocolError` the stream has no known frame boundary any more: drop the reader and the connection.
    """

    def __init__(self, max_frame_size: int, peer: str) -> None:
        self._max_frame_size = max_frame_size
        self._peer = peer
        self._held = bytearray()
        self._needed = SIZE_PREFIX_BYTES
        self._saw_frame = False
        # What arrived and is not cut up yet, from `_start` on.
        self._view: memoryview | None = None
        self._start = 0

    @property
    def held_bytes(self) -> int:
        """Bytes of a frame that has begun and is not complete."""
        return len(self._held)

    def feed(self, data: bytes) -> Iterator[memoryview]:
        """The frames that `data` completes, in order, each without its size prefix; take them all.

        The frames are views, of `data` itself when it holds them whole. Raises `ProtocolError` at a size
        no response can have, after the frames before it.
        """
        self.take_in(data)
        while (frame := self.next_frame()) is not None:
            yield frame

    def take_in(self, data: bytes) -> None:
        """Take what arrived; the frames that it completes are then to be had from `next_frame`, all of them."""
        held = self._held
        if not held:
            self._view = memoryview(data)
        else:
            held += data
            if len(held) < self._needed:
                return
            # The views handed out keep the old buffer; it must not be resized under them.
            self._held = bytearray()
            self._view = memoryview(held)
        self._start = 0
        self._needed = SIZE_PREFIX_BYTES

    def next_frame(self) -> memoryview | None:
        """The next of the frames that `feed` gives, None after the last."""
        view, start = self._view, self._start
        if view is None:
            return None
        available = len(view)
        body = start + SIZE_PREFIX_BYTES
        if body <= available:
            size = int32_at(view, start)
            if not CORRELATION_ID_BYTES <= size <= self._max_frame_size:
                raise self._bad_size(size, bytes(view[start:body]))
            end = body + size
            if end <= available:
                self._saw_frame = True
                self._start = end
                return view[body:end]
            self._needed = SIZE_PREFIX_BYTES + size
        if start < available:
            self._held += view[start:]
        self._view = None
        return None

    def _bad_size(self, size: int, prefix: bytes) -> ProtocolError:
        if not self._saw_frame and (foreign := recognise_foreign_protocol(prefix)):
            return ProtocolError(f"{self._peer} does not answer in Kafka's protocol: {foreign}")
        if size > self._max_frame_size:
            limit = f"the limit is {self._max_frame_size} bytes (max_response_size)"
        else:
            limit = f"a response has at least {CORRELATION_ID_BYTES} bytes"
        return ProtocolError(
            f"{self._peer} announced a response of {size} bytes (size prefix {prefix.hex(' ')}); {limit}; "
            "either the bytes are not Kafka's or the stream is damaged"
        )
