"""Takes orders as lines over TCP, answers each once it is in Kafka, and closes cleanly on SIGTERM.

An order is `table two coffees`, the answer `ok partition offset` or `error reason`.
"""

import asyncio
import os
import signal

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")
PORT = int(os.environ.get("PORT", "0"))


async def main():
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    producer = AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all")
    await producer.start()

    async def serve(reader, writer):
        async for line in reader:
            table, _, order = line.strip().partition(b" ")
            try:
                metadata = await producer.send_and_wait(TOPIC, order, key=table)
            except KafkaError as error:
                writer.write(f"error {error}\n".encode())
            else:
                writer.write(b"ok %d %d\n" % (metadata.partition, metadata.offset))
            await writer.drain()
        writer.close()

    try:
        server = await asyncio.start_server(serve, "localhost", PORT)
        print("port", server.sockets[0].getsockname()[1], flush=True)
        await stopping.wait()
        server.close()
        await producer.send(TOPIC, b"closing", key=b"service")  # stop() sees it through
    finally:
        await producer.stop()
    print("closed")


asyncio.run(main())
