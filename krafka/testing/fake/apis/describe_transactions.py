"""DescribeTransactions: where transactional ids stand, as their coordinator has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka._wire.describe_transactions import (
    DescribeTransactionsResponse,
    DescribeTransactionsResponseTopicData,
    DescribeTransactionsResponseTransactionState,
)
from krafka.errors import TransactionalIdNotFoundError
from krafka.testing.fake.apis.handler import ApiHandler, Call, no_places, whole_code
from krafka.testing.fake.coordinators import KeyType
from krafka.testing.fake.transactions import CoordinatorRefusedError

if TYPE_CHECKING:
    from krafka._wire.describe_transactions import DescribeTransactionsRequest
    from krafka.testing.fake.transactions import FakeTransaction


def _answer(call: Call, body: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[_describe(call, name) for name in body.transactional_ids]
    )


def _describe(call: Call, name: str) -> DescribeTransactionsResponseTransactionState:
    coordinators = call.cluster.coordinators

    def look() -> None:
        coordinators.check(KeyType.TRANSACTION, name, call.broker_id)
        if name not in coordinators.table.by_id:
            raise CoordinatorRefusedError(TransactionalIdNotFoundError)

    code = whole_code(call, look, fenced_since=0)
    if code:
        return DescribeTransactionsResponseTransactionState(error_code=code, transactional_id=name)
    return _described(coordinators.table.by_id[name])


def _described(transaction: FakeTransaction) -> DescribeTransactionsResponseTransactionState:
    topics: dict[str, DescribeTransactionsResponseTopicData] = {}
    for name, partition in transaction.partitions:
        topics.setdefault(name, DescribeTransactionsResponseTopicData(topic=name)).partitions.append(
            partition
        )
    return DescribeTransactionsResponseTransactionState(
        transactional_id=transaction.transactional_id,
        transaction_state=transaction.state.value,
        transaction_timeout_ms=int(transaction.timeout * 1000),
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        topics=list(topics.values()),
    )


HANDLER = ApiHandler("DescribeTransactions", no_places, _answer)
