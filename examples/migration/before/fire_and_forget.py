"""Sends clicks in batches without waiting for each; a callback counts what became of them."""

import asyncio
import os
from collections import Counter

from aiokafka import AIOKafkaProducer

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

CLICKS = [(b"visitor-%d" % (number % 40), b"page %d" % (number % 7)) for number in range(2_000)]
outcomes = Counter()


def count(future):
    error = future.exception()
    outcomes["written" if error is None else type(error).__name__] += 1


async def main():
    async with AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP, acks="all", compression_type="lz4", linger_ms=5, max_batch_size=65536
    ) as producer:
        for key, value in CLICKS:
            future = await producer.send(TOPIC, value, key=key)
            future.add_done_callback(count)
        await producer.flush()
        await asyncio.sleep(0)  # the last callbacks are scheduled, not called, when the futures are done
        print(sorted(outcomes.items()))


asyncio.run(main())
