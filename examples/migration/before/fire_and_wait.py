"""Sends a few orders, each acknowledged before the next, and says where each lies."""

import asyncio
import os

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

ORDERS = [(b"table-%d" % (number % 5), b"coffee %d" % number) for number in range(25)]


async def main():
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", request_timeout_ms=10_000)
    await producer.start()
    try:
        for key, value in ORDERS:
            try:
                metadata = await producer.send_and_wait(TOPIC, value, key=key, timestamp_ms=1_700_000_000_000)
            except KafkaError as error:
                print(f"{value.decode()}: not sent: {error}")
            else:
                print(f"{value.decode()}: partition {metadata.partition}, offset {metadata.offset}")
    finally:
        await producer.stop()


asyncio.run(main())
