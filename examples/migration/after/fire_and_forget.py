"""Sends clicks in batches without waiting for each; an interceptor counts what became of them."""

import os
from collections import Counter

import anyio

import krafka

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

CLICKS = [(b"visitor-%d" % (number % 40), b"page %d" % (number % 7)) for number in range(2_000)]


class Outcomes(krafka.ProducerInterceptor):
    def __init__(self):
        self.counts = Counter()

    def on_acknowledgement(self, metadata, error):
        self.counts["written" if error is None else type(error).__name__] += 1


async def main():
    outcomes = Outcomes()
    async with krafka.Producer(
        BOOTSTRAP, compression="lz4", linger=0.005, interceptors=[outcomes]
    ) as producer:
        for key, value in CLICKS:
            await producer.enqueue(TOPIC, value, key=key)
        await producer.flush()
        print(sorted(outcomes.counts.items()))


anyio.run(main)
