"""Hooks of the user's own, which see each record on its way in and learn of its outcome."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from krafka._speedups.producer_record import ProducerRecord
    from krafka._speedups.record_metadata import RecordMetadata
    from krafka.errors import KafkaError


class RejectRecord(Exception):  # noqa: N818 - it is an answer of `on_send`, not an error of the interceptor
    """Raised by `ProducerInterceptor.on_send` to refuse a record, with the reason to tell its sender.

    The sender gets a `RecordRejectedError` whose cause this is. Interceptors behind this one are not shown the record.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ProducerInterceptor:
    """Sees every record before it is serialized, and is told what became of each; every hook is optional.

    Hooks run on the producer's event loop, so plain ones must not block. Each may be a coroutine function instead.
    An exception of a hook is logged, with the names of interceptor and topic; nobody else sees it, and what it did to
    the record's fields is undone. `RejectRecord` from `on_send` is the exception to this.

    An interceptor may serve several producers of one event loop; then `close` is called by each.
    """

    __slots__ = ()

    def on_send(self, record: ProducerRecord) -> Awaitable[ProducerRecord | None] | ProducerRecord | None:
        """Look at a record, change it, or return another to be sent in its place; None keeps this one.

        It is called in the order of the interceptors, each of which sees what the one before made of the record.
        The record is a copy of the caller's, with headers in a tuple; key and value are as the caller gave them. It is
        not checked yet. Raise `RejectRecord` to refuse it.

        A coroutine function is awaited by the verbs that wait; `enqueue_nowait` raises `ProducerStateError` then. The
        time it takes counts neither for `max_block` nor for `delivery_timeout`.
        """
        return None

    def on_acknowledgement(
        self, metadata: RecordMetadata, error: KafkaError | None
    ) -> Awaitable[None] | None:
        """Learn what became of a record; called exactly once for each call of `on_send`.

        `error` is None for a record that was acknowledged. Else it may have failed anywhere: it was refused by an
        interceptor, not valid, found no room, or its caller was cancelled (`SendCancelledError`). Then `metadata` has
        its topic, its partition if that was known, else -1, and an offset and a timestamp of -1.

        A plain function is called before whoever awaits the record goes on. Awaitables of coroutine functions are
        awaited one after the other by a task of the producer.
        """
        return None

    def close(self) -> Awaitable[None] | None:
        """Let go of what the interceptor holds; called once, after every record's outcome was told.

        Leaving the producer's block waits for it, if it is a coroutine function, at most `close_timeout`.
        """
        return None
