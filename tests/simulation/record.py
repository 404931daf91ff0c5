"""A record of a run, and everything its caller was told about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from krafka import Delivery, KafkaError, RecordMetadata


@dataclass(eq=False)
class Record:
    """One record. `index` grows with each a `caller` hands over, `called_at` is when that was."""

    caller: int
    index: int
    topic: str
    value: bytes
    key: bytes | None
    partition: int | None
    timestamp: int | None
    headers: tuple[tuple[str, bytes | None], ...]
    verb: str
    called_at: float
    delivery: Delivery | None = None
    metadata: RecordMetadata | None = None
    error: KafkaError | None = None
    outcomes: int = 0
    ended_at: float | None = None
    was_refused: bool = False
    """Whether it never came into the producer's hands."""
    was_abandoned: bool = False
    """Whether its caller was cancelled."""

    @property
    def name(self) -> str:
        """Who sent it, and its number."""
        return f"{self.caller}.{self.index}"

    def acknowledged(self, metadata: RecordMetadata, now: float) -> None:
        """The caller was told where it lies."""
        self.metadata = metadata
        self._ended(now)

    def failed(self, error: KafkaError, now: float, *, refused: bool = False) -> None:
        """The caller was told that it failed; `refused`: before there was a delivery."""
        self.error = error
        self.was_refused = refused
        self._ended(now)

    def _ended(self, now: float) -> None:
        self.outcomes += 1
        self.ended_at = now

    def told(self) -> str:
        """What its caller was told, as text."""
        if self.metadata is not None:
            return f"partition {self.metadata.partition} offset {self.metadata.offset}"
        if self.error is not None:
            doubt = "possibly written" if self.error.possibly_written else "not written"
            return f"{doubt}: {self.error!r}"
        return "abandoned" if self.was_abandoned else "nothing"

    def __str__(self) -> str:
        ended = "never" if self.ended_at is None else f"{self.ended_at:.4f}"
        return (
            f"{self.name:>7} {self.verb:9} {self.topic} key={self.key!r} partition={self.partition} "
            f"{len(self.value)} bytes, called {self.called_at:.4f}, ended {ended}: {self.told()[:300]}"
        )
