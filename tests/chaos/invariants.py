"""What must hold between the outcomes a producer reported and what lies in the log, whatever went wrong meanwhile."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from krafka import KafkaError, RecordMetadata

SHOWN = 20
SHOWN_BYTES = 24
NO_OFFSET = -1


class LogRecord(Protocol):
    """A record as somebody else read it from the log."""

    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one record, as its caller was told.

    `value` is different for every record. `index` grows with each record a `caller` hands over; between callers there
    is no order. `partition` is None where the caller never learned it. Exactly one of `metadata` and `error` is set,
    or the outcome is itself a violation.
    """

    value: bytes
    key: bytes | None
    partition: int | None
    caller: int
    index: int
    metadata: RecordMetadata | None = None
    error: KafkaError | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many records ended how. `unplaced` were acknowledged without an offset; `doubtful` may be in the log."""

    acknowledged: int
    unplaced: int
    doubtful: int
    doubtful_in_log: int
    refused: int

    @property
    def failed(self) -> int:
        return self.doubtful + self.refused


def check(outcomes: Sequence[Outcome], log: Sequence[LogRecord], *, context: str = "") -> Tally:
    """Return how the records ended. Raises AssertionError, naming the first violations, if a promise is broken."""
    violations = find_violations(outcomes, log)
    counted = tally(outcomes, log)
    if violations:
        kinds = Counter(violation.partition(":")[0] for violation in violations)
        shown = "\n  ".join(violations[:SHOWN])
        raise AssertionError(
            f"{len(violations)} broken promises {dict(kinds)} {context}\n"
            f"  {counted}; {len(log)} records in the log\n  {shown}"
        )
    return counted


def tally(outcomes: Iterable[Outcome], log: Iterable[LogRecord]) -> Tally:
    """Count the records by how they ended."""
    written = {record.value for record in log}
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.metadata is not None:
            counts["acknowledged"] += 1
            counts["unplaced"] += outcome.metadata.offset == NO_OFFSET
        elif outcome.error is not None and outcome.error.possibly_written:
            counts["doubtful"] += 1
            counts["doubtful_in_log"] += outcome.value in written
        else:
            counts["refused"] += 1
    return Tally(
        counts["acknowledged"],
        counts["unplaced"],
        counts["doubtful"],
        counts["doubtful_in_log"],
        counts["refused"],
    )


def find_violations(outcomes: Sequence[Outcome], log: Sequence[LogRecord]) -> list[str]:
    """Every broken promise, each a line that begins with its kind and a colon."""
    by_value: dict[bytes, Outcome] = {}
    violations: list[str] = []
    for outcome in outcomes:
        if outcome.value in by_value:
            violations.append(f"test: two records of the workload have the value {_name(outcome)}")
        by_value[outcome.value] = outcome
    places = _places(log, by_value, violations)
    for outcome in outcomes:
        violations += _judge(outcome, places.get(outcome.value, []))
    violations += _order(log, by_value)
    return violations


def _places(
    log: Iterable[LogRecord], by_value: dict[bytes, Outcome], violations: list[str]
) -> dict[bytes, list[LogRecord]]:
    places: dict[bytes, list[LogRecord]] = {}
    for record in log:
        outcome = None if record.value is None else by_value.get(record.value)
        if record.value is None or outcome is None:
            violations.append(f"unknown: {_place(record)} holds {record.value!r}, which nobody sent")
            continue
        places.setdefault(record.value, []).append(record)
        if record.key != outcome.key:
            violations.append(
                f"key: {_place(record)} {_name(outcome)} has key {record.key!r}, sent was {outcome.key!r}"
            )
    return places


def _judge(outcome: Outcome, places: list[LogRecord]) -> Iterable[str]:
    found = ", ".join(map(_place, places)) or "nowhere"
    if (outcome.metadata is None) == (outcome.error is None):
        yield f"outcome: {_name(outcome)} has not exactly one outcome: {outcome.metadata}, {outcome.error!r}"
    if len(places) > 1:
        yield f"twice: {_name(outcome)} lies at {found}; told was {_told(outcome)}"
    if outcome.metadata is not None:
        yield from _judge_acknowledged(outcome, outcome.metadata, places, found)
    elif outcome.error is not None and not outcome.error.possibly_written and places:
        yield f"lie: {_name(outcome)} lies at {found}; told was that it cannot: {outcome.error!r}"
    for record in places:
        if outcome.partition is not None and record.partition != outcome.partition:
            yield f"partition: {_name(outcome)} lies at {found}, but was sent to {outcome.partition}"


def _judge_acknowledged(
    outcome: Outcome, metadata: RecordMetadata, places: list[LogRecord], found: str
) -> Iterable[str]:
    if not places:
        yield f"lost: {_name(outcome)} is nowhere; told was {_told(outcome)}"
    elif metadata.offset == NO_OFFSET:
        if all(record.partition != metadata.partition for record in places):
            yield f"offset: {_name(outcome)} lies at {found}; told was {_told(outcome)}"
    elif (metadata.partition, metadata.offset) not in [(each.partition, each.offset) for each in places]:
        yield f"offset: {_name(outcome)} lies at {found}; told was {_told(outcome)}"


def _order(log: Iterable[LogRecord], by_value: dict[bytes, Outcome]) -> Iterable[str]:
    last: dict[tuple[int, int], Outcome] = {}
    next_offset: dict[int, int] = {}
    for record in sorted(log, key=lambda record: (record.partition, record.offset)):
        expected = next_offset.get(record.partition, 0)
        if record.offset != expected:
            yield f"hole: {_place(record)} follows offset {expected - 1} of the log"
        next_offset[record.partition] = record.offset + 1
        outcome = None if record.value is None else by_value.get(record.value)
        if outcome is None:
            continue
        before = last.get((record.partition, outcome.caller))
        if before is not None and before.index >= outcome.index:
            yield (
                f"order: {_place(record)} {_name(outcome)} (number {outcome.index} of caller {outcome.caller}) "
                f"lies behind {_name(before)} (number {before.index}); told were {_told(outcome)} and {_told(before)}"
            )
        last[record.partition, outcome.caller] = outcome


def _place(record: LogRecord) -> str:
    return f"partition {record.partition} offset {record.offset}"


def _name(outcome: Outcome) -> str:
    return repr(outcome.value[:SHOWN_BYTES])


def _told(outcome: Outcome) -> str:
    if outcome.metadata is not None:
        return f"partition {outcome.metadata.partition} offset {outcome.metadata.offset}"
    return repr(outcome.error)
