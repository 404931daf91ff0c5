"""A producer torn down while its sender is about to send: its memory comes back all the same."""

from __future__ import annotations

import anyio
import pytest
from faulty import TOPIC, error_of, faulty

from krafka.errors import ProducerClosedError

pytestmark = pytest.mark.anyio


async def test_what_a_teardown_keeps_from_being_sent_gives_its_memory_back() -> None:
    async with faulty(linger=10.0) as (cluster, producer):
        # Opens the connection, so that nothing but the teardown is in the next record's way.
        first = await producer.enqueue(TOPIC, b"first")
        await producer.flush()
        assert await error_of(first) is None
        requests = cluster.requests["Produce"]
        delivery = await producer.enqueue(TOPIC, b"second")
        engine = producer._engine_or_none
        assert engine is not None
        with anyio.CancelScope() as scope:
            scope.cancel()
            # Its flush wakes the sender, which finds itself cancelled when it has its turn.
            await producer.close()
        error = await error_of(delivery)
        assert isinstance(error, ProducerClosedError)
        assert error.possibly_written or cluster.requests["Produce"] == requests
        assert engine.accumulator.memory.available == producer.config.buffer_memory
        assert all(node.in_flight == 0 for node in engine.accumulator.nodes.values())
