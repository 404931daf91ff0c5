"""What became of each input line: a bounded window of deliveries, the totals, and the report file in input order."""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeAlias

import anyio
import anyio.to_thread

from krafka.cli.readers import Unsendable
from krafka.errors import (
    InvalidRecordError,
    InvalidTimestampError,
    KafkaError,
    MessageTooLargeError,
    RecordListTooLargeError,
    RecordValidationError,
)
from krafka.producer import Delivery

if TYPE_CHECKING:
    from collections.abc import Sequence

LINES_NAMED = 20
# Deliveries held at a time, some 100 bytes each.
WINDOW = 100_000

Outcome: TypeAlias = "Delivery | KafkaError | Unsendable"
"""A record the producer took, its refusal, or why there never was a record."""

# These are one record's own fault; after any other error the next record would fare no better.
_FAULTS_OF_A_RECORD = (
    RecordValidationError,
    MessageTooLargeError,
    RecordListTooLargeError,
    InvalidRecordError,
    InvalidTimestampError,
)


def is_fault_of_record(error: KafkaError) -> bool:
    """Whether the error befell this record alone, so that it makes sense to send the next one."""
    return isinstance(error, _FAULTS_OF_A_RECORD)


class FailedLine(NamedTuple):
    """An input line that was not acknowledged, and why."""

    line: int
    reason: str


class Outcomes:
    """Collects deliveries in input order and settles them in that order, each once.

    `report`, an open binary file, gets a JSON line for each input line. Whatever is cancelled here can be called
    again: a slice is counted and written whole or not yet.
    """

    def __init__(self, report: BinaryIO | None = None) -> None:
        self.acknowledged = 0
        self.failed = 0
        self.first_failed: list[FailedLine] = []
        self.partitions: Counter[int] = Counter()
        self.stop_reason: KafkaError | OSError | None = None
        """Why it makes no sense to send more: the first error that is not one record's own fault."""
        self.last_line = 0
        """The last line that has its outcome."""
        self._report = report
        self._slices: deque[tuple[Sequence[int], list[Outcome]]] = deque()
        self._outstanding = 0

    def stop(self, error: KafkaError | OSError) -> None:
        """Note why no more should be sent; the first reason counts."""
        if self.stop_reason is None:
            self.stop_reason = error

    @property
    def unbroken_line(self) -> int:
        """The line up to which every record was acknowledged."""
        return self.first_failed[0].line - 1 if self.first_failed else self.last_line

    def add(self, lines: Sequence[int], outcomes: list[Outcome]) -> None:
        """Take the next lines with their deliveries."""
        if outcomes:
            self._slices.append((lines, outcomes))
            self._outstanding += len(outcomes)

    async def make_room(self) -> None:
        """Settle what is done already, and wait for the oldest while there are more than the window has room for."""
        while self._slices and (self._outstanding > WINDOW or _is_done(self._slices[0][1])):
            await self._settle_oldest()

    async def settle_all(self) -> None:
        """Return when every line has its outcome."""
        while self._slices:
            await self._settle_oldest()

    async def _settle_oldest(self) -> None:
        lines, outcomes = self._slices[0]
        for outcome in outcomes:
            if isinstance(outcome, Delivery) and not outcome.done:
                try:
                    await outcome
                except KafkaError:
                    continue  # it is looked at below
        self._slices.popleft()
        self._outstanding -= len(outcomes)
        text = self._count(lines, outcomes)
        if self._report is not None:
            await self._write(self._report, text)

    def _count(self, lines: Sequence[int], outcomes: list[Outcome]) -> list[str]:
        """Add a slice to the totals, and return its lines for the report."""
        text: list[str] = []
        reporting = self._report is not None
        for line, outcome in zip(lines, outcomes, strict=True):
            failure = outcome.exception if isinstance(outcome, Delivery) else outcome
            if failure is not None:
                self._count_failure(line, failure)
                if reporting:
                    text.append(_failure_text(line, failure))
            elif isinstance(outcome, Delivery):
                self.acknowledged += 1
                self.partitions[outcome.partition] += 1
                if reporting and (metadata := outcome.metadata) is not None:
                    text.append(
                        f'{{"line": {line}, "partition": {metadata.partition}, "offset": {metadata.offset}}}\n'
                    )
        self.last_line = lines[-1]
        return text

    def _count_failure(self, line: int, failure: KafkaError | Unsendable) -> None:
        self.failed += 1
        if len(self.first_failed) < LINES_NAMED:
            self.first_failed.append(FailedLine(line, _reason(failure)))
        if isinstance(failure, KafkaError) and not is_fault_of_record(failure):
            self.stop(failure)

    async def _write(self, report: BinaryIO, text: list[str]) -> None:
        try:
            # The slice is counted already; a cancellation here would leave it out of the file.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(report.write, "".join(text).encode())
        except OSError as error:
            self._report = None
            self.stop(error)

    async def flush_report(self) -> None:
        """Put what is settled into the report's file now."""
        report = self._report
        if report is None:
            return
        try:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(report.flush)
        except OSError as error:
            self._report = None
            self.stop(error)


def _is_done(outcomes: list[Outcome]) -> bool:
    return all(outcome.done for outcome in outcomes if isinstance(outcome, Delivery))


def _reason(failure: KafkaError | Unsendable) -> str:
    return failure.reason if isinstance(failure, Unsendable) else str(failure)


def _failure_text(line: int, failure: KafkaError | Unsendable) -> str:
    entry: dict[str, object] = {"line": line, "error": _reason(failure)}
    if isinstance(failure, KafkaError) and failure.possibly_written:
        entry["possibly_written"] = True
    return json.dumps(entry, ensure_ascii=False) + "\n"
