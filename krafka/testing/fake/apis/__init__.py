"""What a broker answers, one module for each API: `HANDLERS` is all it speaks and advertises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.testing.fake.apis import (
    add_offsets_to_txn,
    add_partitions_to_txn,
    api_versions,
    describe_transactions,
    end_txn,
    find_coordinator,
    init_producer_id,
    metadata,
    produce,
    txn_offset_commit,
)

if TYPE_CHECKING:
    from krafka.testing.fake.apis.handler import ApiHandler

__all__ = ["HANDLERS"]

HANDLERS: dict[str, ApiHandler] = {
    handler.name: handler
    for handler in (
        add_offsets_to_txn.HANDLER,
        add_partitions_to_txn.HANDLER,
        api_versions.HANDLER,
        describe_transactions.HANDLER,
        end_txn.HANDLER,
        find_coordinator.HANDLER,
        init_producer_id.HANDLER,
        metadata.HANDLER,
        produce.HANDLER,
        txn_offset_commit.HANDLER,
    )
}
"""The APIs by Kafka's name of them."""
