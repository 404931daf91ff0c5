"""The producer id of an idempotent producer: asked for, again and again, from whichever broker answers."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from krafka._wire.init_producer_id import InitProducerIdRequest
from krafka.errors import (
    AuthenticationError,
    KafkaError,
    ProtocolError,
    UnsupportedVersionError,
    error_for_code,
)

if TYPE_CHECKING:
    from krafka._io.connection import Connection
    from krafka._io.engine import Engine

logger = logging.getLogger(__name__)


class IdentityKeeper:
    """Runs InitProducerId whenever the producer is without an id; any broker can answer it (KIP-98)."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._wanted = anyio.Event()
        self._wanted.set()

    def request(self) -> None:
        """An id is needed."""
        self._wanted.set()

    async def run(self) -> None:
        """Fetch an id each time one is needed; never returns unless the cluster refuses for good."""
        while True:
            await self._wanted.wait()
            self._wanted = anyio.Event()
            attempt = 0
            avoid: Connection | None = None
            while self._engine.needs_identity and self._engine.failure is None:
                try:
                    avoid = await self._engine.pool.any_connection(avoid=avoid)
                    await self._ask(avoid)
                except KafkaError as error:
                    self._note(error)
                    await anyio.sleep(self._engine.backoff(attempt))
                    attempt += 1

    async def _ask(self, connection: Connection) -> None:
        response = await connection.request(
            InitProducerIdRequest(
                transactional_id=None, transaction_timeout_ms=0, producer_id=-1, producer_epoch=-1
            )
        )
        if response.error_code:
            raise error_for_code(response.error_code, f"InitProducerId on {connection.peer}")
        if response.producer_id < 0 or response.producer_epoch < 0:
            raise ProtocolError(
                f"InitProducerId on {connection.peer} was answered with producer id {response.producer_id} and epoch "
                f"{response.producer_epoch}; neither can be negative"
            )
        self._engine.take_identity(response.producer_id, response.producer_epoch)

    def _note(self, error: KafkaError) -> None:
        """Keep the reason for the records that wait for the id; give up where trying again cannot help."""
        refused = error.code is not None and not error.is_retriable
        if refused or isinstance(error, (AuthenticationError, UnsupportedVersionError)):
            self._engine.fail_producer(error)
            return
        logger.debug("no producer id yet: %s", error)
        for batch in self._engine.accumulator.incomplete:
            if batch.attempts == 0:
                batch.last_error = error
