"""The judge itself: each kind of broken promise is seen, and a kept one is not taken for broken."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from krafka import DeliveryTimeoutError, KafkaError, RecordMetadata

from .invariants import Outcome, Tally, check, find_violations


class Lying(NamedTuple):
    partition: int
    offset: int
    value: bytes | None
    key: bytes | None = None


def told(
    number: int,
    offset: int | None = None,
    *,
    error: KafkaError | None = None,
    partition: int = 0,
    caller: int = 0,
) -> Outcome:
    metadata = None if offset is None else RecordMetadata("t", partition, offset, 1)
    return Outcome(b"%d" % number, None, partition, caller, number, metadata, error)


IN_DOUBT = DeliveryTimeoutError("sent and not answered", possibly_written=True)
NOT_WRITTEN = DeliveryTimeoutError("never sent", possibly_written=False)


def test_kept_promises() -> None:
    outcomes = [
        told(0, 0),
        told(1, error=IN_DOUBT),
        told(2, error=IN_DOUBT),
        told(3, error=NOT_WRITTEN),
        told(4, -1),
        told(5, 0, partition=1),
    ]
    log = [Lying(0, 0, b"0"), Lying(0, 1, b"2"), Lying(0, 2, b"4"), Lying(1, 0, b"5")]
    assert check(outcomes, log) == Tally(3, 1, 2, 1, 1)
    assert check(outcomes, log).failed == 3


def test_callers_have_no_order_between_them() -> None:
    outcomes = [told(0, 1), told(1, 0, caller=1)]
    assert find_violations(outcomes, [Lying(0, 0, b"1"), Lying(0, 1, b"0")]) == []


@pytest.mark.parametrize(
    ("kind", "outcomes", "log"),
    [
        ("outcome", [told(0)], []),
        ("outcome", [told(0, 0, error=IN_DOUBT)], [Lying(0, 0, b"0")]),
        ("lost", [told(0, 0)], []),
        ("lost", [told(0, -1)], []),
        ("offset", [told(0, 1), told(1, 0)], [Lying(0, 0, b"0"), Lying(0, 1, b"1")]),
        ("offset", [told(0, -1, partition=1)], [Lying(0, 0, b"0")]),
        ("partition", [told(0, error=IN_DOUBT, partition=1)], [Lying(0, 0, b"0")]),
        ("twice", [told(0, 0)], [Lying(0, 0, b"0"), Lying(0, 1, b"0")]),
        ("twice", [told(0, error=IN_DOUBT)], [Lying(0, 0, b"0"), Lying(0, 1, b"0")]),
        ("lie", [told(0, error=NOT_WRITTEN)], [Lying(0, 0, b"0")]),
        ("order", [told(0, 1), told(1, 0)], [Lying(0, 0, b"1"), Lying(0, 1, b"0")]),
        ("order", [told(0, error=IN_DOUBT), told(1, 0)], [Lying(0, 0, b"1"), Lying(0, 1, b"0")]),
        ("unknown", [told(0, 0)], [Lying(0, 0, b"0"), Lying(0, 1, b"stranger")]),
        ("unknown", [told(0, 0)], [Lying(0, 0, b"0"), Lying(0, 1, None)]),
        ("key", [told(0, 0)], [Lying(0, 0, b"0", b"key")]),
        ("hole", [told(0, 1)], [Lying(0, 1, b"0")]),
        ("test", [told(0, 0), told(0, 0)], [Lying(0, 0, b"0")]),
    ],
)
def test_broken_promises(kind: str, outcomes: list[Outcome], log: list[Lying]) -> None:
    assert kind in {violation.partition(":")[0] for violation in find_violations(outcomes, log)}
    with pytest.raises(AssertionError, match=rf"'{kind}': \d.*seed 5"):
        check(outcomes, log, context="with seed 5")
