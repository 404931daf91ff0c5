"""The root of krafka's errors, the families a handler asks for, and the way from a wire code to its class."""

from __future__ import annotations

import re
from typing import ClassVar

_CLASSES_BY_CODE: dict[int, type[KafkaError]] = {}
_WORD_START = re.compile(r"(?<!^)(?=[A-Z])")


class KafkaError(Exception):
    """Base of everything krafka raises on purpose.

    A handler decides by the attributes below rather than by listing classes. They are set on the
    class; an instance may narrow them (the same broker error can end a transaction or not).
    """

    code: int | None = None
    """Kafka's error code when a broker reported one, else None."""
    code_name: str | None = None
    """Kafka's own name of `code`, as brokers log it (`"NOT_LEADER_OR_FOLLOWER"`), else None."""
    is_retriable: bool = False
    """The same request may succeed later without a change. The producer has already retried within
    `delivery_timeout` and `retries` by the time a caller sees such an error."""
    refreshes_metadata: bool = False
    """The client's picture of the cluster is stale: fetch metadata before the next attempt
    (`InvalidMetadataException` in Kafka's Java client)."""
    is_fatal: bool = False
    """This producer cannot go on: close it and, once the reason is gone, make a new one."""
    requires_abort: bool = False
    """The open transaction can only be aborted; the producer goes on afterwards (KIP-890, KIP-1050)."""
    possibly_written: bool = False
    """The record may be in the log in spite of this error: a request left for the broker and its
    outcome is unknown. False means it is certain that the record was not written."""

    summary: ClassVar[str] = "The operation failed."
    """One sentence: what happened and what to do. It is the text where a broker sent no message."""

    def __init_subclass__(cls, *, code: int | None = None, code_name: str | None = None) -> None:
        super().__init_subclass__()
        if cls.__doc__:
            cls.summary = " ".join(cls.__doc__.split("\n\n")[0].split())
        if code is None:
            return
        if code in _CLASSES_BY_CODE:
            raise TypeError(f"error code {code} belongs to {_CLASSES_BY_CODE[code].__name__} already")
        cls.code = code
        cls.code_name = code_name or _WORD_START.sub("_", cls.__name__.removesuffix("Error")).upper()
        _CLASSES_BY_CODE[code] = cls

    def __init__(self, message: str = "", *, possibly_written: bool = False) -> None:
        super().__init__(message or self.summary)
        if possibly_written:
            self.possibly_written = True


class RetriableError(KafkaError):
    """A passing condition; the same request may succeed later."""

    is_retriable = True


class InvalidMetadataError(RetriableError):
    """The client acted on stale cluster metadata; it fetches fresh metadata and tries again."""

    refreshes_metadata = True


class AuthenticationError(KafkaError):
    """The broker refused who this client says it is; correct the credentials, mechanism or certificate."""

    is_fatal = True


class AuthorizationError(KafkaError):
    """The authenticated user lacks a permission; grant it with an ACL for the resource named."""


class UnknownKafkaError(KafkaError):
    """A broker answered with an error code this version of krafka does not know. Never retried.

    `code` keeps the number; look it up in the protocol guide of the broker's Kafka version.
    """

    def __init__(self, message: str = "", *, code: int | None = None, possibly_written: bool = False) -> None:
        super().__init__(message, possibly_written=possibly_written)
        self.code = code


def error_for_code(code: int, message: str | None = None, *, possibly_written: bool = False) -> KafkaError:
    """The error a broker means by `code`, ready to raise.

    `message` is what the broker or the caller adds (topic, partition, broker); without one the text
    says what the code means. Code 0 is success and a ValueError here. An unknown code gives an
    `UnknownKafkaError` that keeps the number and is not retriable.
    """
    if code == 0:
        raise ValueError("error code 0 (NONE) is success, not an error")
    error_class = _CLASSES_BY_CODE.get(code)
    if error_class is None:
        text = f"error code {code}, unknown to this version of krafka"
        return UnknownKafkaError(
            f"{text}: {message}" if message else text, code=code, possibly_written=possibly_written
        )
    detail = message or error_class.summary
    text = f"{error_class.code_name} ({code})"
    return error_class(f"{text}: {detail}" if detail else text, possibly_written=possibly_written)


def error_classes_by_code() -> dict[int, type[KafkaError]]:
    """A copy of the table from Kafka's error codes to classes, in order of the codes."""
    return dict(sorted(_CLASSES_BY_CODE.items()))
