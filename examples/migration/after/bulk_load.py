"""Loads the lines `key,value` of standard input with a bounded amount under way; collects what failed."""

import os
import sys

import anyio

import krafka

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")


def records():
    for line in sys.stdin.buffer:
        key, _, value = line.rstrip(b"\n").partition(b",")
        yield krafka.ProducerRecord(TOPIC, value, key=key)


async def main():
    async with krafka.Producer(BOOTSTRAP, compression="zstd", batch_size=131072) as producer:
        result = await producer.send_many(records())

    failed = result.failed
    for index, _error in failed:
        print(f"line {index + 1} failed")
    print(f"{len(result) - len(failed)} of {len(result)} lines written")


anyio.run(main)
