"""Sends customers as JSON under their number, with headers; who has left becomes a tombstone."""

import asyncio
import json
import os

from aiokafka import AIOKafkaProducer

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

CUSTOMERS = [
    {"number": number, "name": name, "active": name != "Zoë"}
    for number, name in enumerate(["Ada", "Bé", "Chloé", "Dora", "Zoë", "Emil", "Frieda", "Gustav"], 4711)
]


def to_json(value):
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def main():
    async with AIOKafkaProducer(
        bootstrap_servers=BOOTSTRAP,
        enable_idempotence=True,
        key_serializer=lambda number: str(number).encode(),
        value_serializer=to_json,
    ) as producer:
        for customer in CUSTOMERS:
            value = customer if customer["active"] else None
            headers = [("source", b"till-3"), ("schema", b"customer/1")]
            await producer.send_and_wait(TOPIC, value, key=customer["number"], headers=headers)
    print(len(CUSTOMERS), "customers")


asyncio.run(main())
