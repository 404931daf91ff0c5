"""The judge itself: each kind of broken promise is seen, and a kept one is not taken for broken."""

from __future__ import annotations

import pytest

from .judge import End, Evidence, Log, PartitionEnd, Place, Sent, Tally, Transaction, check, find_violations

NOTHING = ""


def meant(number: int, values: str, end: End | None, *, producer: str = "p", **sent: int) -> Transaction:
    """A transaction of one record for each letter: capital ones go to partition 1, others to 0."""
    records = [Sent("t", int(value.isupper()), value.encode(), **sent) for value in values]
    return Transaction(producer, number, records, end)


def log(values: str, partition: int = 0) -> Log:
    """The letters at rising offsets; a point is a hole, such as control records and aborted ones leave."""
    return {
        Place("t", partition, offset): value.encode() for offset, value in enumerate(values) if value != "."
    }


def seen(
    committed: Log, uncommitted: Log | None = None, *, stable: int = 9, unfinished: str = ""
) -> Evidence:
    return Evidence(
        committed,
        committed if uncommitted is None else uncommitted,
        [PartitionEnd("t", 0, stable, 9)],
        [unfinished] if unfinished else [],
    )


def test_kept_promises() -> None:
    transactions = [
        meant(0, "abA", End.COMMITTED),
        meant(1, "cdB", End.ABORTED),
        meant(2, "ef", End.UNKNOWN),
        meant(3, "gG", End.UNKNOWN),
        meant(0, "x", End.COMMITTED, producer="q"),
    ]
    committed = log("ab..xef") | log("A", 1)
    everything = log("abcdxefg") | log("AB", 1)
    assert check(transactions, seen(committed, everything)) == Tally(2, 1, 2, 1, 6, 4)


def test_an_offset_that_was_told() -> None:
    assert find_violations([meant(0, "a", End.COMMITTED, offset=0)], seen(log("a"))) == []


def test_producers_have_no_order_between_them() -> None:
    transactions = [meant(0, "ab", End.COMMITTED), meant(1, "c", End.COMMITTED, producer="q")]
    assert find_violations(transactions, seen(log("cab"))) == []


COMMITTED, ABORTED, UNKNOWN = End.COMMITTED, End.ABORTED, End.UNKNOWN


@pytest.mark.parametrize(
    ("kind", "transactions", "evidence"),
    [
        ("test", [meant(0, "a", None)], seen(log(NOTHING))),
        ("test", [meant(0, "a", COMMITTED), meant(1, "a", COMMITTED)], seen(log("a"))),
        ("lost", [meant(0, "ab", COMMITTED)], seen(log("a"))),
        ("lost", [meant(0, "ab", COMMITTED)], seen(log(NOTHING), log("ab"))),
        ("leaked", [meant(0, "ab", ABORTED)], seen(log("a"))),
        ("torn", [meant(0, "abc", UNKNOWN)], seen(log("ac"))),
        ("twice", [meant(0, "a", COMMITTED)], seen(log("aa"))),
        ("twice", [meant(0, "a", UNKNOWN)], seen(log("aa"))),
        ("partition", [meant(0, "a", COMMITTED)], seen(log("a", 1))),
        ("offset", [meant(0, "a", COMMITTED, offset=0)], seen(log(".a"))),
        ("order", [meant(0, "ab", COMMITTED)], seen(log("ba"))),
        ("order", [meant(0, "a", COMMITTED), meant(1, "b", COMMITTED)], seen(log("ba"))),
        ("order", [meant(0, "a", UNKNOWN), meant(1, "b", COMMITTED)], seen(log("ba"))),
        ("unknown", [meant(0, "a", COMMITTED)], seen(log("az"))),
        ("unknown", [meant(0, "a", COMMITTED)], seen(log("a"), log("az"))),
        ("unknown", [meant(0, "a", COMMITTED)], seen(log("a") | {Place("t", 0, 1): None})),
        ("readers", [meant(0, "a", COMMITTED)], seen(log("a"), log(NOTHING))),
        ("readers", [meant(0, "ab", COMMITTED)], seen(log("ab"), log("ba"))),
        ("hanging", [meant(0, "a", COMMITTED)], seen(log("a"), stable=8)),
        ("hanging", [meant(0, "a", COMMITTED)], seen(log("a"), unfinished="p is Ongoing")),
    ],
)
def test_broken_promises(kind: str, transactions: list[Transaction], evidence: Evidence) -> None:
    assert {violation.partition(":")[0] for violation in find_violations(transactions, evidence)} == {kind}
    with pytest.raises(AssertionError, match=f"'{kind}': \\d.*seed 5"):
        check(transactions, evidence, context="with seed 5")
