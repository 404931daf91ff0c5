"""TLS over a stream to a broker, and what its failures most likely mean."""

from __future__ import annotations

import math
import ssl
from typing import TYPE_CHECKING

import anyio
from anyio.streams.tls import TLSStream

from krafka.errors import ConnectionFailedError

if TYPE_CHECKING:
    from anyio.abc import ByteStream


async def wrap_tls(stream: ByteStream, context: ssl.SSLContext, host: str, address: str) -> TLSStream:
    """Shake hands with the broker that is `host` to its certificate, and `address` in errors.

    Raises `ConnectionFailedError`; the stream is the caller's to close.
    """
    try:
        # Kafka's brokers end a connection without the closing handshake of TLS.
        return await TLSStream.wrap(
            stream, server_side=False, hostname=host, ssl_context=context, standard_compatible=False
        )
    except ssl.SSLError as error:
        raise ConnectionFailedError(
            f"TLS handshake with {address} failed: {explain_tls_error(error, host)}"
        ) from error
    except (anyio.EndOfStream, anyio.BrokenResourceError, OSError) as error:
        raise ConnectionFailedError(
            f"TLS handshake with {address} failed: the peer closed the connection in the middle of it; "
            "the port may not speak TLS (is it a PLAINTEXT listener?), or it wants a client certificate"
        ) from error
    except ValueError as error:
        raise ConnectionFailedError(f"TLS handshake with {address} failed: {error}") from error


_VERIFY_CODE_EXPIRED = 10
_VERIFY_CODE_SELF_SIGNED = frozenset((18, 19))
_VERIFY_CODE_UNKNOWN_ISSUER = frozenset((2, 20, 21))
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
    elif code in _VERIFY_CODE_SELF_SIGNED:
        advice = "the broker's certificate is self-signed; load its CA into the context given as tls="
    elif code in _VERIFY_CODE_UNKNOWN_ISSUER:
        advice = (
            "the broker's certificate comes from an unknown CA; load that CA into the context given as tls="
        )
    else:
        advice = "the broker's certificate was not accepted"
    return f"certificate verify failed: {advice} [{said}]"
