"""A broker's port on the loopback interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from anyio.abc import SocketAttribute

if TYPE_CHECKING:
    from anyio.abc import TaskStatus

    from krafka.testing.fake.broker import FakeBroker

LOOPBACK = "127.0.0.1"


class Listener:
    """Takes TCP connections for a broker, on the same port each time it runs."""

    def __init__(self, broker: FakeBroker) -> None:
        self.port: int = 0
        self._broker = broker
        self._scope: anyio.CancelScope | None = None

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Listen until `close` or cancellation."""
        with anyio.CancelScope() as self._scope:
            async with await anyio.create_tcp_listener(local_host=LOOPBACK, local_port=self.port) as listener:
                self.port = listener.extra_attributes[SocketAttribute.local_port]()
                task_status.started()
                await listener.serve(self._broker.serve)

    def close(self) -> None:
        """Take no more connections."""
        if self._scope is not None:
            self._scope.cancel()
