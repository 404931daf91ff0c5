"""TLS over a stream to a broker, and what its failures most likely mean."""

from __future__ import annotations

import logging
import math
import ssl
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from anyio.streams.tls import TLSStream

from krafka._io.transport import tls_failure
from krafka.auth import TlsConfig
from krafka.errors import AuthenticationError, ConnectionFailedError

if TYPE_CHECKING:
    from anyio.abc import ByteStream

    from krafka.auth._tls import Stamp

logger = logging.getLogger(__name__)


class TlsContexts:
    """The context for each new connection: one given, or one of a `TlsConfig`, made anew when its files change."""

    def __init__(self, tls: bool | ssl.SSLContext | TlsConfig | None) -> None:
        self._context = tls if isinstance(tls, ssl.SSLContext) else None
        self._config = (
            None if self._context is not None else tls if isinstance(tls, TlsConfig) else TlsConfig()
        )
        self._stamp: Stamp | None = None

    @property
    def server_name(self) -> str | None:
        """The name to expect in place of the host's, if there is one."""
        return None if self._config is None else self._config.server_name

    async def current(self) -> ssl.SSLContext:
        """Look whether files have changed, and read them in a thread if so.

        Raises `AuthenticationError` for files that cannot be used, if none ever could.
        """
        if self._config is None:
            assert self._context is not None  # noqa: S101 - one of the two is given
            return self._context
        stamp = self._config.stamp()
        if self._context is None or stamp != self._stamp:
            try:
                self._context = await anyio.to_thread.run_sync(self._config.make_context)
            except AuthenticationError as error:
                if self._context is None:
                    raise
                logger.warning("what TLS was told before stays in use: %s", error)
            if not self._config.verify and self._stamp is None:
                logger.warning(
                    "TLS with verify=False trusts whoever answers: anyone in between can read and change all"
                )
            self._stamp = stamp
        return self._context


async def wrap_tls(stream: ByteStream, context: ssl.SSLContext, host: str, address: str) -> TLSStream:
    """Shake hands with the broker that is `host` to its certificate, and `address` in errors.

    Raises `AuthenticationError` where one side does not accept the other, and `ConnectionFailedError` where the
    connection ends before that; the stream is the caller's to close.
    """
    try:
        # Kafka's brokers end a connection without the closing handshake of TLS.
        return await TLSStream.wrap(
            stream, server_side=False, hostname=host, ssl_context=context, standard_compatible=False
        )
    except ssl.SSLError as error:
        failure = tls_failure(error, host, address)
        assert failure is not None  # noqa: S101 - it is an error of TLS
        raise failure from error
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError) as error:
        raise ConnectionFailedError(
            f"TLS handshake with {address} failed: the peer closed the connection in the middle of it; "
            "the port may not speak TLS (is it a PLAINTEXT listener?), or it wants a client certificate"
        ) from error
    except ValueError as error:
        raise ConnectionFailedError(f"TLS handshake with {address} failed: {error}") from error


def is_final(error: Exception) -> bool:
    """Whether trying again is no help: all that TLS itself refuses, as in Kafka's Java client.

    The end of the connection, or a trouble that the broker says is inside of it, may pass.
    """
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return False
    return "INTERNAL_ERROR" not in (getattr(error, "reason", None) or str(error)).upper().replace(" ", "_")


_VERIFY_CODE_EXPIRED = 10
_VERIFY_CODE_SELF_SIGNED = 18
_VERIFY_CODE_UNKNOWN_ISSUER = frozenset((2, 19, 20, 21))
_VERIFY_CODE_MISMATCH = frozenset((62, 64))
_NOT_TLS_REASONS = frozenset(("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"))


def explain_tls_error(error: ssl.SSLError, host: str) -> str:
    """What the error OpenSSL gives for a connection to `host` most likely means."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, host)
    reason = error.reason or str(error)
    if reason in _NOT_TLS_REASONS or "HTTP" in reason:
        return f"the port does not speak TLS (is it a PLAINTEXT listener?) [{reason}]"
    if reason == "UNSUPPORTED_PROTOCOL" or "PROTOCOL_VERSION" in reason:
        return f"the two sides have no TLS version in common [{reason}]"
    if "CERTIFICATE_REQUIRED" in reason:
        return f"the broker requires a client certificate; give tls=TlsConfig(certificate=..., key=...) [{reason}]"
    if "ALERT_CERTIFICATE_EXPIRED" in reason:
        return f"the broker says that the client's certificate has expired; renew it [{reason}]"
    if "ALERT_UNKNOWN_CA" in reason or "CERTIFICATE_UNKNOWN" in reason or "BAD_CERTIFICATE" in reason:
        return (
            "the broker does not accept the client's certificate, or got none: its authority must be in the broker's "
            f"truststore; give tls=TlsConfig(certificate=..., key=...) [{reason}]"
        )
    if "ALERT" in reason:
        return (
            f"the broker refused: {reason}; look in its log (it may require a client certificate it trusts)"
        )
    return reason


def _explain_certificate(error: ssl.SSLCertVerificationError, host: str) -> str:
    said = getattr(error, "verify_message", "") or str(error)
    code = getattr(error, "verify_code", math.nan)
    if code == _VERIFY_CODE_EXPIRED:
        advice = "the broker's certificate has expired; renew it on the broker"
    elif code in _VERIFY_CODE_MISMATCH:
        advice = f"the broker's certificate is not for {host!r}; connect by a name it carries or reissue it"
    elif code == _VERIFY_CODE_SELF_SIGNED:
        advice = "the broker's certificate is self-signed; if it is the right one, give it as tls=TlsConfig(ca=...)"
    elif code in _VERIFY_CODE_UNKNOWN_ISSUER:
        advice = "the broker's certificate comes from an unknown CA; give that CA as tls=TlsConfig(ca=...)"
    else:
        advice = "the broker's certificate was not accepted"
    return f"certificate verify failed: {advice} [{said}]"
