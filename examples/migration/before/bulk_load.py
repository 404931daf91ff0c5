"""Loads the lines `key,value` of standard input with a bounded number under way; collects what failed."""

import asyncio
import os
import sys

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")
UNDER_WAY = 1_000


async def main():
    failed = {}
    total = 0
    room = asyncio.Semaphore(UNDER_WAY)
    pending = set()

    def done(number, future):
        room.release()
        pending.discard(future)
        if future.exception() is not None:
            failed[number] = future.exception()

    async with AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP, enable_idempotence=True, compression_type="zstd", max_batch_size=131072
    ) as producer:
        for line in sys.stdin.buffer:
            key, _, value = line.rstrip(b"\n").partition(b",")
            total += 1
            await room.acquire()
            try:
                future = await producer.send(TOPIC, value, key=key)
            except KafkaError as error:
                room.release()
                failed[total] = error
            else:
                pending.add(future)
                future.add_done_callback(lambda future, number=total: done(number, future))
        await asyncio.gather(*pending, return_exceptions=True)

    for number in sorted(failed):
        print(f"line {number} failed")
    print(f"{total - len(failed)} of {total} lines written")


asyncio.run(main())
