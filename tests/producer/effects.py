"""What a producer does with its numbers and its metadata, counted, and what that makes of one batch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

from krafka._io import engine
from krafka._io.brokers import BrokerPool
from krafka._io.metadata import MetadataRefresher
from krafka._state.rules import Batch, Number, Producer
from krafka._state.sequences import Sequences

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from krafka import KafkaError


class Effects(NamedTuple):
    """What was seen to become of a batch of one record, and what a rule says about one."""

    batch: Batch
    number: Number
    producer: Producer


class Calls:
    """Counts what the producer asks of its numbers and of the metadata."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        update = MetadataRefresher.request_update
        monkeypatch.setattr(MetadataRefresher, "request_update", self._counted("request_update", update))
        # A compiled class cannot be changed, but inherited from.
        methods = {
            name: self._counted(name, getattr(Sequences, name))
            for name in ("refused", "lost", "out_of_order", "forgotten")
        }
        monkeypatch.setattr(engine, "Sequences", type("Counted", (Sequences,), methods))

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            self.counts[name] += 1
            return method(*arguments, **options)

        return counted

    def number(self, error: KafkaError | None, offset: int) -> Number:
        """What became of the number of the one batch that met an error."""
        for name, number in (
            ("out_of_order", Number.OUT_OF_ORDER),
            ("forgotten", Number.FORGOTTEN),
            ("refused", Number.GAP),
            ("lost", Number.UNRESOLVED),
        ):
            if self.counts[name]:
                return number
        return Number.TAKEN if error is None and offset < 0 else Number.KEPT

    def batch(self, error: KafkaError | None, offset: int, number: Number) -> Batch:
        if error is not None:
            return Batch.FAIL
        if offset < 0:
            return Batch.ACKNOWLEDGE
        if number in {Number.OUT_OF_ORDER, Number.FORGOTTEN}:
            return Batch.RENUMBER_AND_RETRY
        return Batch.REFRESH_AND_RETRY if self.counts["request_update"] else Batch.RETRY


def connecting_in_vain(monkeypatch: pytest.MonkeyPatch) -> anyio.Event:
    """Set once two attempts to connect have failed."""
    failed = anyio.Event()
    note_failure = BrokerPool._note_failure

    def note_and_tell(pool: BrokerPool, *arguments: Any) -> None:
        note_failure(pool, *arguments)
        if pool.connect_failures > 1:
            failed.set()

    monkeypatch.setattr(BrokerPool, "_note_failure", note_and_tell)
    return failed
