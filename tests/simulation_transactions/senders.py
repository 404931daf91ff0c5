"""Tasks that hand over the records of one transaction."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from krafka.errors import (
    InvalidTransactionStateError,
    KafkaError,
    TransactionAbortableError,
    TransactionAbortedError,
)
from tests.simulation.callers import Caller

if TYPE_CHECKING:
    from tests.simulation.record import Record

    from .ledger import Transaction
    from .life import Life

SENDERS_OF_A_LIFE = 1000
"""More than any life has, so that each has a number of its own."""


class Sender(Caller):
    """One task and its records, which are all of one transaction; it stops when that takes no more."""

    def __init__(self, life: Life, transaction: Transaction, number: int) -> None:
        number += life.plan.number * SENDERS_OF_A_LIFE
        world: Any = _Place(life, transaction)
        super().__init__(world, replace(life.world.plan.sender, number=number))
        self._random = Random(f"{life.world.plan.seed} sender {number}")

    def _failed(self, record: Record, error: KafkaError, *, refused: bool = False) -> None:
        super()._failed(record, error, refused=refused)
        if isinstance(
            error, InvalidTransactionStateError | TransactionAbortedError | TransactionAbortableError
        ):
            self._goes_on = False


class _Place:
    """A life, for who hands over records of one transaction of it."""

    def __init__(self, life: Life, transaction: Transaction) -> None:
        self._life = life
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._life, name)

    @property
    def plan(self) -> Any:
        return self._life.world.plan

    def add(self, record: Record) -> None:
        self._transaction.records.append(record)
        self._life.world.add(record)
