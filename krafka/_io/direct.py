"""A record that its caller waits for: appended, sent without a detour, awaited, in one compiled coroutine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krafka.errors import BufferFullError, MetadataNotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._io.admission import Admission
    from krafka._io.sender import NodeSender
    from krafka._speedups.append import Appender
    from krafka._speedups.delivery import Delivery
    from krafka._speedups.record_metadata import RecordMetadata
    from krafka._speedups.waiting import EventLoop


class DirectSend:
    """Sends records whose senders wait for nothing else: what a record makes ready goes out at once.

    That is when the record is in its batch, not before: a sender that wakes meanwhile is kept for `wake_now`.
    """

    def __init__(
        self,
        appender: Appender,
        loop: EventLoop,
        admission: Admission,
        wake_now: Callable[[NodeSender], object],
    ) -> None:
        self._appender = appender
        self._loop = loop
        self._admission = admission
        self._wake_now = wake_now
        self._holds = False
        self._held: list[NodeSender] = []

    async def send(
        self,
        topic: Any,
        value: Any = None,
        *,
        key: Any = None,
        headers: Any = None,
        partition: Any = None,
        timestamp: Any = None,
    ) -> RecordMetadata:
        """See `Producer.send`."""
        if self._loop.may_be_cancelled():
            await self._loop.checkpoint_if_cancelled()
        delivery: Delivery | None
        try:
            delivery = self.append(topic, value, key, headers, partition, timestamp)
        except (BufferFullError, MetadataNotReadyError):
            delivery = None
        if delivery is None:
            # Not where the first error is handled, which would be shown along with what comes of the wait.
            delivery = await self._admission.admit(
                topic, value, key, headers, partition, timestamp, self._loop.time()
            )
        return await delivery

    def append(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery:
        """As `Appender.append`."""
        self._holds = True
        try:
            return self._appender.append(
                topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
            )
        finally:
            self._holds = False
            while self._held:
                self._wake_now(self._held.pop())

    def holds(self, sender: NodeSender) -> bool:
        """Keep a sender that is to wake, if a record is being appended."""
        if self._holds:
            self._held.append(sender)
        return self._holds
