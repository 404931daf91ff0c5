"""Sends customers as JSON under their number, with headers; who has left becomes a tombstone."""

import json
import os

import anyio

import krafka

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")

CUSTOMERS = [
    {"number": number, "name": name, "active": name != "Zoë"}
    for number, name in enumerate(["Ada", "Bé", "Chloé", "Dora", "Zoë", "Emil", "Frieda", "Gustav"], 4711)
]


def to_json(topic, value, headers):
    return None if value is None else json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


async def main():
    async with krafka.Producer(
        BOOTSTRAP,
        key_serializer=lambda topic, number, headers: str(number).encode(),
        value_serializer=to_json,
    ) as producer:
        for customer in CUSTOMERS:
            value = customer if customer["active"] else None
            headers = [("source", b"till-3"), ("schema", b"customer/1")]
            await producer.send(TOPIC, value, key=customer["number"], headers=headers)
    print(len(CUSTOMERS), "customers")


anyio.run(main)
