"""Errors about records that never reached a broker, and about a bulk call some of whose records failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.errors._base import KafkaError
from krafka.errors._client import RecordValidationError
from krafka.errors._producing import MessageTooLargeError

if TYPE_CHECKING:
    from collections.abc import Sequence


class RecordTooLargeError(RecordValidationError, MessageTooLargeError):
    """The record is larger than a limit of this producer; the text names the limit and both sizes.

    It carries the code of the broker's own refusal (`MessageTooLargeError`, 10), so that one handler serves both.
    """


class SerializationError(RecordValidationError):
    """A serializer failed for the record's key or value, or returned no bytes; `__cause__` is its own error.

    `is_retriable` is the cause's, where that is a `KafkaError`.
    """


class RecordRejectedError(RecordValidationError):
    """An interceptor refused the record: `interceptor` is its name, `reason` what it gave, and `__cause__` its
    `RejectRecord`."""

    interceptor: str
    reason: str

    def __init__(
        self,
        message: str = "",
        *,
        interceptor: str = "",
        reason: str = "",
        possibly_written: bool = False,
    ) -> None:
        super().__init__(message, possibly_written=possibly_written)
        self.interceptor = interceptor
        self.reason = reason


class SendCancelledError(KafkaError):
    """The caller was cancelled, or interrupted, before its record was accepted; only interceptors are told this."""


class SendManyError(KafkaError):
    """Some records of a `send_many` call failed; `failed` lists (index, error), `__cause__` is the first error."""

    failed: Sequence[tuple[int, KafkaError]]

    def __init__(
        self,
        message: str = "",
        *,
        failed: Sequence[tuple[int, KafkaError]] = (),
        possibly_written: bool = False,
    ) -> None:
        super().__init__(
            message, possibly_written=possibly_written or any(e.possibly_written for _, e in failed)
        )
        self.failed = failed
