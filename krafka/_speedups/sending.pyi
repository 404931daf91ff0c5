from collections.abc import Callable, Coroutine
from typing import Any, final

from krafka._speedups.delivery import Delivery
from krafka._speedups.record_metadata import RecordMetadata
from krafka._speedups.waiting import EventLoop

class SendSteps:
    def __init__(self, loop: EventLoop) -> None: ...
    @property
    def loop(self) -> EventLoop: ...
    def append(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Delivery: ...
    def admit(
        self, topic: Any, value: Any, key: Any, headers: Any, partition: Any, timestamp: Any
    ) -> Coroutine[Any, Any, Delivery]: ...
    def send(
        self,
        topic: Any,
        value: Any = None,
        *,
        key: Any = None,
        headers: Any = None,
        partition: Any = None,
        timestamp: Any = None,
    ) -> Coroutine[Any, Any, RecordMetadata]: ...

@final
class SendVerb:
    def __init__(
        self, steps: SendSteps, described: Callable[..., Coroutine[Any, Any, RecordMetadata]]
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, RecordMetadata]: ...
    def __getattr__(self, name: str) -> Any: ...
