"""How a connection can end, in words: the error for each way, and what it is to the requests left without an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._io.transport import tls_reason
from krafka.errors import KafkaError, NetworkError, RequestTimedOutError

if TYPE_CHECKING:
    import anyio

    from krafka._state.pipeline import PendingRequest


def overdue(pending: PendingRequest, peer: str, in_flight: int) -> RequestTimedOutError:
    """An answer that did not come in time."""
    return RequestTimedOutError(
        f"{peer} did not answer {pending.name} within {pending.timeout:g} s "
        f"(request_timeout); the connection is closed with {in_flight} request(s) open"
    )


def end_of_stream(
    error: anyio.EndOfStream, peer: str, *, held_bytes: int, in_flight: int, was_answered: bool
) -> NetworkError:
    """The broker closed the connection; `was_answered` if a request of the producer ever was, or it authenticated."""
    text = f"{peer} closed the connection"
    if held_bytes:
        text += f" in the middle of a response, after {held_bytes} bytes of it"
    if in_flight:
        text += f" with {in_flight} request(s) open"
        if not was_answered:
            text += "; it has answered nothing but ApiVersions: the listener may require SASL authentication (auth=)"
    reason = NetworkError(text)
    reason.__cause__ = error
    return reason


def broken(doing: str, error: Exception, peer: str, host: str) -> NetworkError:
    """The stream failed in `doing` the connection, such as "reading from"."""
    tls = tls_reason(error, host)
    said = f"TLS: {tls}" if tls else str(error.__cause__ or error) or type(error).__name__
    reason = NetworkError(f"the connection to {peer} broke in {doing} it: {said}")
    reason.__cause__ = error
    return reason


def refusal(peer: str, close_reason: KafkaError | None) -> NetworkError:
    """What a request gets that came too late or too early to be sent."""
    text = f"not sent: the connection to {peer} is " + ("closed" if close_reason else "not open yet")
    refused = NetworkError(f"{text}: {close_reason}" if close_reason else text)
    refused.__cause__ = close_reason
    return refused


def unanswered(
    pending: PendingRequest, close_reason: KafkaError | None, *, possibly_written: bool
) -> KafkaError:
    """What a request gets that was under way when the connection ended for this reason."""
    error_class = RequestTimedOutError if isinstance(close_reason, RequestTimedOutError) else NetworkError
    text = f"no answer to {pending.name}" if possibly_written else f"{pending.name} was not sent"
    failure = error_class(f"{text}: {close_reason}", possibly_written=possibly_written)
    failure.__cause__ = close_reason
    return failure
