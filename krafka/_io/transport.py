"""Open byte streams to brokers: name resolution, TCP and TLS, with failures a reader can act on."""

from __future__ import annotations

import errno
import socket
import sys
from typing import TYPE_CHECKING, Protocol

import anyio

from krafka._io.dialing import dial
from krafka._io.tcp import TcpStream
from krafka.errors import AuthenticationError, ConnectionFailedError, KafkaError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from anyio.abc import ByteStream

    from krafka._io.tls import TlsContexts
    from krafka.auth import TlsConfig

# Kafka's brokers close idle connections after ten minutes; probes find a peer that vanished long before.
KEEPALIVE_IDLE_SECONDS = 60
LARGEST_PORT = 2**16 - 1
_CLOSE_SECONDS = 1.0
_NAMED_ADDRESSES = 8


def format_address(host: str, port: int) -> str:
    """`host:port` as it is written in a configuration, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def close_stream(stream: ByteStream) -> None:
    """Close a stream at once, cancelled or not, without waiting for what it still has to send."""
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True) as scope:
        await stream.aclose()
    if scope.cancelled_caught:
        await anyio.aclose_forcefully(stream)


def tls_reason(error: Exception, host: str) -> str | None:
    """What went wrong in TLS with `host`; None if the error is of another kind."""
    if not isinstance(error, OSError):
        return None
    import ssl  # noqa: PLC0415 - costs as much to import as half of krafka

    from krafka._io.tls import explain_tls_error  # noqa: PLC0415 - the same

    return explain_tls_error(error, host) if isinstance(error, ssl.SSLError) else None


def tls_failure(error: Exception, host: str, peer: str) -> KafkaError | None:
    """What to raise for an error in TLS while a connection is opened; None if the error is of another kind."""
    reason = tls_reason(error, host)
    if reason is None:
        return None
    from krafka._io.tls import is_final  # noqa: PLC0415 - as above

    kind = AuthenticationError if is_final(error) else ConnectionFailedError
    return kind(f"TLS handshake with {peer} failed: {reason}")


class Connector(Protocol):
    """Opens the byte stream under a broker connection; tests and fake clusters give in-memory ones."""

    async def connect(self, host: str, port: int) -> ByteStream:
        """A stream to `host`:`port`, ready for Kafka's bytes.

        Raises `ConnectionFailedError`, and `AuthenticationError` where trying again is no help.
        """
        ...


class TcpConnector:
    """Streams over TCP, and over TLS if `tls` says so, which is as in `ProducerConfig`.

    Every connect resolves the name anew and tries all its addresses (RFC 6555 "happy eyeballs").
    `connect_timeout` in seconds covers name resolution, TCP and TLS together. The buffer sizes are
    SO_SNDBUF and SO_RCVBUF in bytes, None for the system's. The certificate must carry the host name
    as configured unless the context says otherwise.
    """

    def __init__(
        self,
        tls: bool | ssl.SSLContext | TlsConfig | None = None,
        connect_timeout: float = 10.0,
        send_buffer_bytes: int | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        self._tls = tls or None
        self._contexts: TlsContexts | None = None
        self._connect_timeout = connect_timeout
        self._send_buffer_bytes = send_buffer_bytes
        self._receive_buffer_bytes = receive_buffer_bytes

    async def connect(self, host: str, port: int) -> ByteStream:
        """A connected stream.

        Raises `ConnectionFailedError` saying which step failed and why, and `AuthenticationError` where one of the two
        sides does not accept the other in TLS, which trying again does not mend.
        """
        address = format_address(host, port)
        step = "TCP connect to" if _is_ip_address(host) else "name resolution and TCP connect to"
        stream: ByteStream | None = None
        with anyio.move_on_after(self._connect_timeout):
            stream = await self._open_tcp(host, port)
            if self._tls is None:
                return stream
            step = "TLS handshake with"
            return await self._wrap_tls(stream, host, address)
        reason = TimeoutError(f"no answer within {self._connect_timeout:g} s")
        raise ConnectionFailedError(
            f"{step} {address} timed out after {self._connect_timeout:g} s (connect_timeout); "
            "the host may be down, or a firewall drops the packets"
        ) from reason

    async def _open_tcp(self, host: str, port: int) -> TcpStream:
        address = format_address(host, port)
        if not 0 < port <= LARGEST_PORT:
            # A broker's Metadata carries ports of 32 bits, of which some event loops take the lower 16.
            raise ConnectionFailedError(f"{address} cannot be an address: ports go from 1 to {LARGEST_PORT}")
        try:
            return TcpStream(await dial(host, port, self._set_options))
        except socket.gaierror as error:
            raise ConnectionFailedError(
                f"the host name of {address} does not resolve: {error.strerror or error}"
            ) from error
        except ValueError as error:
            text = f"the host name of {address} is not a valid name: {error}"
            raise ConnectionFailedError(text) from error
        except OSError as error:
            raise ConnectionFailedError(f"TCP connect to {address} failed: {_explain(error)}") from error

    async def _wrap_tls(self, stream: TcpStream, host: str, address: str) -> ByteStream:
        from krafka._io.tls import TlsContexts, wrap_tls  # noqa: PLC0415 - most producers do without

        try:
            if self._contexts is None:
                self._contexts = TlsContexts(self._tls)
            context = await self._contexts.current()
            return await wrap_tls(stream, context, self._contexts.server_name or host, address)
        except BaseException:
            await close_stream(stream)
            raise

    def _set_options(self, raw: socket.socket) -> None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle_option = "TCP_KEEPALIVE" if sys.platform == "darwin" else "TCP_KEEPIDLE"
        if (option := getattr(socket, idle_option, None)) is not None:
            raw.setsockopt(socket.IPPROTO_TCP, option, KEEPALIVE_IDLE_SECONDS)
        if self._send_buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._send_buffer_bytes)
        if self._receive_buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer_bytes)


def _is_ip_address(host: str) -> bool:
    try:
        return bool(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST))
    except (socket.gaierror, ValueError):
        return False


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The single failures behind an error that stands for several connection attempts."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    elif isinstance(error, OSError) and error.errno is None and error.__cause__ is not None:
        yield from _leaves(error.__cause__)
    else:
        yield error


def _explain(error: OSError) -> str:
    """One line for all addresses that were tried, each reason once and in order."""
    reasons = list(dict.fromkeys(_explain_one(leaf) for leaf in _leaves(error)))
    text = "; ".join(reasons[:_NAMED_ADDRESSES])
    if len(reasons) > _NAMED_ADDRESSES:
        text += f"; and {len(reasons) - _NAMED_ADDRESSES} more"
    return text


def _explain_one(error: BaseException) -> str:
    text = str(error) or type(error).__name__
    if not isinstance(error, OSError):
        return text
    if isinstance(error, ConnectionRefusedError):
        return f"{text} (connection refused: nothing listens there)"
    if error.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH):
        return f"{text} (no route: check network, VPN and firewall)"
    if isinstance(error, TimeoutError):
        return f"{text} (no answer: the host may be down, or a firewall drops the packets)"
    return text
