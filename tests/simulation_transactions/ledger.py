"""What the task that makes transactions was told about each of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from krafka import KafkaError
    from tests.simulation.record import Record


class Fate(Enum):
    """What readers of committed records may see of a transaction, by what its owner was told."""

    NOT_COMMITTED = "nothing: no commit was asked for, or it was refused"
    ABORTED = "nothing: the abort returned"
    COMMITTED = "all: the commit returned"
    UNKNOWN = "all or nothing: the outcome of the commit was never told"


@dataclass
class SentOffsets:
    """One call of `send_offsets_to_transaction`; each `offset` is given once in a run."""

    group: str
    offset: int
    taken: bool = False
    may_be_taken: bool = False


@dataclass(eq=False)
class Transaction:
    """One transaction; `number` grows with those of the same producer, whose number is `life`."""

    life: int
    number: int
    records: list[Record] = field(default_factory=list)
    offsets: list[SentOffsets] = field(default_factory=list)
    fate: Fate = Fate.NOT_COMMITTED
    history: list[str] = field(default_factory=list)
    error: KafkaError | None = None

    @property
    def name(self) -> str:
        """Whose it is, and its number."""
        return f"T{self.life}.{self.number}"

    def told(self, what: str) -> None:
        """Add to what its owner was told."""
        self.history.append(what)

    def __str__(self) -> str:
        return f"{self.name} {self.fate.name} ({'; '.join(self.history)})"
