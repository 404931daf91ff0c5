"""Sends a few orders, each acknowledged before the next, and says where each lies."""

import os

import anyio

import krafka

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

ORDERS = [(b"table-%d" % (number % 5), b"coffee %d" % number) for number in range(25)]


async def main():
    async with krafka.Producer(BOOTSTRAP, delivery_timeout=20.0) as producer:
        for key, value in ORDERS:
            try:
                metadata = await producer.send(TOPIC, value, key=key, timestamp=1_700_000_000_000)
            except krafka.KafkaError as error:
                print(f"{value.decode()}: not sent: {error}")
            else:
                print(f"{value.decode()}: partition {metadata.partition}, offset {metadata.offset}")


anyio.run(main)
