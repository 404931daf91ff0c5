"""A record that its caller waits for: appended, and sent without a detour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from krafka._speedups.sending import SendSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from krafka._io.admission import Admission
    from krafka._io.sender import NodeSender
    from krafka._speedups.append import Appender
    from krafka._speedups.delivery import Delivery
    from krafka._speedups.waiting import EventLoop


class SenderWakes:
    """Wakes the senders of brokers, by the brokers' ids; those that wake between `hold` and `let_go` wake at once then.

    `make` gives the sender of a broker that has none yet, or None; `failed` is told what a sender raises, as that is
    not the concern of whoever wakes it.
    """

    def __init__(
        self, make: Callable[[int], NodeSender | None], failed: Callable[[Exception], object]
    ) -> None:
        self.senders: dict[int, NodeSender] = {}
        self._make = make
        self._failed = failed
        self._is_over = False
        self._holds = False
        self._held: list[NodeSender] = []

    def wake(self, node_id: int) -> None:
        """Have the broker's sender look at its queue."""
        if self._is_over:
            return
        sender = self.senders.get(node_id)
        if sender is None:
            sender = self._make(node_id)
            if sender is None:
                return
        if self._holds:
            self._held.append(sender)
        else:
            sender.wake()

    def end(self) -> None:
        """Wake nobody any more."""
        self._is_over = True

    def hold(self) -> None:
        """Keep those that wake from now on."""
        self._holds = True

    def let_go(self) -> None:
        """End what `hold` began, and wake those at once that were kept."""
        self._holds = False
        while self._held:
            sender = self._held.pop()
            try:
                sender.wake_now()
            except Exception as bug:
                self._failed(bug)


class DirectSend(SendSteps):
    """Sends records whose senders wait for nothing else: what a record makes ready goes out at once.

    That is when the record is in its batch, not before.
    """

    def __init__(self, appender: Appender, loop: EventLoop, admission: Admission, wakes: SenderWakes) -> None:
        SendSteps.__init__(self, loop)
        self._appender = appender
        self._admission = admission
        self._wakes = wakes

    def append(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery:
        """As `Appender.append`."""
        self._wakes.hold()
        try:
            return self._appender.append_fields(topic, value, key, headers, partition, timestamp)
        finally:
            self._wakes.let_go()

    def admit(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Coroutine[Any, Any, Delivery]:
        """As `Admission.admit`, for a record that enters the producer now."""
        return self._admission.admit(topic, value, key, headers, partition, timestamp, self.loop.time())
