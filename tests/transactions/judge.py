"""What must hold between what a program meant by its transactions and what other clients read afterwards."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SHOWN = 20
SHOWN_BYTES = 40
NO_OFFSET = -1


class End(Enum):
    """How a transaction ended, as the program was told."""

    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"
    """Committed or not: then either all of it is there or nothing."""


class Place(NamedTuple):
    """A partition of a topic, and a record's offset where it is known."""

    topic: str
    partition: int
    offset: int = NO_OFFSET


@dataclass(slots=True)
class Sent:
    """One record of a transaction; `value` is different for every record. `offset` is what the producer told, or -1."""

    topic: str
    partition: int
    value: bytes
    offset: int = NO_OFFSET


@dataclass(slots=True)
class Transaction:
    """A transaction as it was meant: who, the how many-th of theirs, its records in order, and its end when told."""

    producer: str
    number: int
    records: list[Sent] = field(default_factory=list)
    end: End | None = None

    def __str__(self) -> str:
        return f"transaction {self.number} of {self.producer}"


class LogRecord(Protocol):
    """A record as somebody else read it."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def value(self) -> bytes | None: ...


Log: TypeAlias = dict[Place, bytes | None]
"""The records of all topics: places with their offsets, and values."""
Meant: TypeAlias = dict[bytes | None, tuple[Transaction, int]]
"""For each value its transaction, and the how many-th record of it."""


class PartitionEnd(NamedTuple):
    """How far a partition goes (`high_watermark`) and how far its readers of committed records get."""

    topic: str
    partition: int
    last_stable_offset: int
    high_watermark: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that was read when all was over.

    `unfinished` are the transactions that the brokers themselves hold for open, in words.
    """

    committed: Log
    uncommitted: Log
    ends: Sequence[PartitionEnd]
    unfinished: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many transactions ended how, and how many of the unknown ones are there; records as readers see them."""

    committed: int
    aborted: int
    unknown: int
    unknown_there: int
    visible: int
    invisible: int


def log_of(records: Mapping[str, Iterable[LogRecord]]) -> Log:
    """The records of several topics, as one log."""
    return {
        Place(topic, record.partition, record.offset): record.value
        for topic, each in records.items()
        for record in each
    }


def check(transactions: Sequence[Transaction], evidence: Evidence, *, context: str = "") -> Tally:
    """Return how the transactions ended. Raises AssertionError, naming the first violations, if a promise is broken."""
    violations = find_violations(transactions, evidence)
    counted = tally(transactions, evidence)
    if violations:
        kinds = Counter(violation.partition(":")[0] for violation in violations)
        shown = "\n  ".join(violations[:SHOWN])
        raise AssertionError(
            f"{len(violations)} broken promises {dict(kinds)} {context}\n  {counted}\n  {shown}"
        )
    return counted


def tally(transactions: Sequence[Transaction], evidence: Evidence) -> Tally:
    """Count transactions and records by how they ended."""
    ends = Counter(transaction.end for transaction in transactions)
    seen = set(evidence.committed.values())
    there = sum(
        transaction.end is End.UNKNOWN and any(sent.value in seen for sent in transaction.records)
        for transaction in transactions
    )
    visible = len(evidence.committed)
    return Tally(
        ends[End.COMMITTED],
        ends[End.ABORTED],
        ends[End.UNKNOWN],
        there,
        visible,
        len(evidence.uncommitted) - visible,
    )


def find_violations(transactions: Sequence[Transaction], evidence: Evidence) -> list[str]:
    """Every broken promise, each a line that begins with its kind and a colon."""
    meant: Meant = {}
    violations = []
    for transaction in transactions:
        if transaction.end is None:
            violations.append(f"test: {transaction} has no end")
        for index, sent in enumerate(transaction.records):
            if sent.value in meant:
                violations.append(f"test: two records have the value {_name(sent.value)}")
            meant[sent.value] = transaction, index
    places = _places(evidence.committed)
    for transaction in transactions:
        violations += _transaction(transaction, places)
    violations += _strangers(evidence, meant)
    violations += _order(evidence.committed, meant)
    violations += _open(evidence)
    return violations


def _places(log: Log) -> dict[bytes | None, list[Place]]:
    places: dict[bytes | None, list[Place]] = {}
    for place, value in log.items():
        places.setdefault(value, []).append(place)
    return places


def _transaction(transaction: Transaction, places: Mapping[bytes | None, list[Place]]) -> Iterator[str]:
    missing = [sent for sent in transaction.records if sent.value not in places]
    for sent in transaction.records:
        found = places.get(sent.value, [])
        if len(found) > 1:
            yield f"twice: {_name(sent.value)} of {transaction} lies at {_list(found)}"
        if found and transaction.end is End.ABORTED:
            yield f"leaked: {_name(sent.value)} of {transaction}, which was aborted, is read at {_list(found)}"
        if any((place.topic, place.partition) != (sent.topic, sent.partition) for place in found):
            yield (
                f"partition: {_name(sent.value)} of {transaction} lies at {_list(found)} and was sent to "
                f"{sent.topic}-{sent.partition}"
            )
        elif found and sent.offset != NO_OFFSET and sent.offset not in [place.offset for place in found]:
            yield f"offset: {_name(sent.value)} of {transaction} lies at {_list(found)}; told was {sent.offset}"
    if transaction.end is End.COMMITTED:
        for sent in missing:
            yield f"lost: {_name(sent.value)} of {transaction}, which was committed, is nowhere"
    elif transaction.end is End.UNKNOWN and 0 < len(missing) < len(transaction.records):
        yield (
            f"torn: {transaction}, whose end is unknown, has {len(missing)} records of "
            f"{len(transaction.records)} missing, the first {_name(missing[0].value)}"
        )


def _strangers(evidence: Evidence, meant: Meant) -> Iterator[str]:
    for place, value in evidence.committed.items():
        if value not in meant:
            yield f"unknown: {_name(value)} at {_list([place])} was sent by nobody"
        if evidence.uncommitted.get(place, value) != value or place not in evidence.uncommitted:
            yield (
                f"readers: {_name(value)} is read at {_list([place])} by those of committed records, and "
                f"{_name(evidence.uncommitted.get(place))} by others"
            )
    for place, value in evidence.uncommitted.items():
        if value not in meant and place not in evidence.committed:
            yield f"unknown: {_name(value)} at {_list([place])} was sent by nobody"


def _order(log: Log, meant: Meant) -> Iterator[str]:
    """Records lie in the order sent, transactions of one producer one behind the other."""
    last: dict[tuple[str, int, str], tuple[int, int, bytes | None]] = {}
    for place in sorted(log):
        value = log[place]
        if value not in meant:
            continue
        transaction, index = meant[value]
        key = (place.topic, place.partition, transaction.producer)
        before = last.get(key)
        if before is not None and before[:2] > (transaction.number, index):
            yield (
                f"order: {_name(value)} of {transaction} lies at {_list([place])}, "
                f"behind {_name(before[2])} of transaction {before[0]}"
            )
        last[key] = transaction.number, index, value


def _open(evidence: Evidence) -> Iterator[str]:
    for end in evidence.ends:
        if end.last_stable_offset != end.high_watermark:
            yield (
                f"hanging: {end.topic}-{end.partition} is committed up to offset {end.last_stable_offset}, "
                f"and goes on to {end.high_watermark}"
            )
    for line in evidence.unfinished:
        yield f"hanging: {line}"


def _list(places: Iterable[Place]) -> str:
    return ", ".join(f"{place.topic}-{place.partition} offset {place.offset}" for place in places)


def _name(value: bytes | None) -> str:
    return repr(value if value is None else value[:SHOWN_BYTES])
