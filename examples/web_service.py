"""A web service that writes each order to Kafka before it says yes.

Run it with any ASGI server, on asyncio or trio; `pip install starlette uvicorn`, then, in this folder:

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 uvicorn web_service:app
    curl -d 'two coffees' http://localhost:8000/orders/table-7
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import krafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, krafka.Producer]]:
    """Open one producer for the whole application; leaving waits for what is on its way."""
    bootstrap_servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    async with krafka.Producer(bootstrap_servers, client_id="web-service") as producer:
        yield {"producer": producer}


async def order(request: Request) -> JSONResponse:
    """Answer 201 once every replica in sync has the order."""
    producer: krafka.Producer = request.state.producer
    table = request.path_params["table"].encode()
    try:
        metadata = await producer.send("orders", await request.body(), key=table)
    except krafka.RecordValidationError as error:
        return JSONResponse({"error": str(error)}, status_code=422)
    except krafka.KafkaError as error:
        # A second attempt by the client is safe only if this one cannot have been written.
        return JSONResponse({"error": str(error), "unsure": error.possibly_written}, status_code=503)
    return JSONResponse({"partition": metadata.partition, "offset": metadata.offset}, status_code=201)


app = Starlette(lifespan=lifespan, routes=[Route("/orders/{table}", order, methods=["POST"])])
