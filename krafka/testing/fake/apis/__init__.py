"""What a broker answers, one module for each API: `HANDLERS` is all it speaks and advertises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from krafka.testing.fake.apis import api_versions, init_producer_id, metadata, produce

if TYPE_CHECKING:
    from krafka.testing.fake.apis.handler import ApiHandler

__all__ = ["HANDLERS"]

HANDLERS: dict[str, ApiHandler] = {
    handler.name: handler
    for handler in (
        api_versions.HANDLER,
        init_producer_id.HANDLER,
        metadata.HANDLER,
        produce.HANDLER,
    )
}
"""The APIs by Kafka's name of them."""
