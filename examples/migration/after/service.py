"""Takes orders as lines over TCP, answers each once it is in Kafka, and closes cleanly on SIGTERM.

An order is `table two coffees`, the answer `ok partition offset` or `error reason`.
"""

import os
import signal

import anyio
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

import krafka

BOOTSTRAP = os.environ.get("BOOTSTRAP", "localhost:9092")
TOPIC = os.environ.get("TOPIC", "orders")
PORT = int(os.environ.get("PORT", "0"))
LONGEST_LINE = 65536


async def main():
    async with krafka.Producer(BOOTSTRAP) as producer:

        async def serve(client):
            async with client:
                lines = BufferedByteReceiveStream(client)
                while True:
                    try:
                        line = await lines.receive_until(b"\n", LONGEST_LINE)
                    except (anyio.EndOfStream, anyio.IncompleteRead):
                        return
                    table, _, order = line.strip().partition(b" ")
                    try:
                        metadata = await producer.send(TOPIC, order, key=table)
                    except krafka.KafkaError as error:
                        await client.send(f"error {error}\n".encode())
                    else:
                        await client.send(b"ok %d %d\n" % (metadata.partition, metadata.offset))

        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async with (
                await anyio.create_tcp_listener(local_host="localhost", local_port=PORT) as listener,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(listener.serve, serve)
                print("port", listener.extra_attributes[SocketAttribute.local_port](), flush=True)
                await anext(signals)
                tasks.cancel_scope.cancel()
        await producer.enqueue(TOPIC, b"closing", key=b"service")  # leaving the block sees it through
    print("closed")


anyio.run(main)
