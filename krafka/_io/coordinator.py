"""Requests to the coordinators of a transactional id and of groups: found, asked, and asked again by the rules."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from krafka._state.coordinator_rules import Ask, Effect, effect_of, error_of
from krafka._wire.find_coordinator import FindCoordinatorRequest
from krafka.errors import (
    ConnectionFailedError,
    CoordinatorNotAvailableError,
    KafkaError,
    NotCoordinatorError,
    ProducerClosedError,
    RequestTimedOutError,
    UnknownServerError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka._io.connection import Connection
    from krafka._io.engine import Engine
    from krafka._wire.schema import Request, Response

    ResponseT = TypeVar("ResponseT", bound=Response)

logger = logging.getLogger(__name__)

_KEYS_FROM = 4
_MAYBE_DONE = (RequestTimedOutError, CoordinatorNotAvailableError, NotCoordinatorError, UnknownServerError)
"""Also the answers of a coordinator whose log took the change, and that lost its followers or its place too soon."""


class KeyType(IntEnum):
    """What is coordinated, as FindCoordinator numbers it."""

    GROUP = 0
    TRANSACTION = 1


class RefusedError(Exception):
    """A request came to an end with an error, and this is what that means; raised to the transactor alone."""

    def __init__(self, error: KafkaError, effect: Effect) -> None:
        super().__init__(str(error))
        self.error = error
        self.effect = effect


class Coordinators:
    """Asks the coordinator of this producer's transactional id, and those of groups, one request at a time each.

    `in_doubt` says that a request may have been done although nobody knows: it may still be on its way, and reach a
    coordinator later. Whoever makes sure that it can do no harm any more clears that. `may_be_done` says the same of
    requests that were answered as well, by a coordinator that was not sure; who cares for one of them clears it before.
    """

    def __init__(self, engine: Engine, transactional_id: str) -> None:
        self.in_doubt = False
        self.may_be_done = False
        self.last_error: KafkaError | None = None
        """Why the last attempt at a request failed; None once one was answered."""
        self._engine = engine
        self._transactional_id = transactional_id
        self._nodes: dict[tuple[KeyType, str], int] = {}

    async def ask(
        self,
        ask: Ask,
        make_request: Callable[[Connection], tuple[Request[ResponseT], int]],
        codes: Callable[[ResponseT], list[tuple[int, str]]],
        *,
        group: str | None = None,
    ) -> tuple[ResponseT, Connection]:
        """Send a request to the coordinator of the transactional id, or of `group`, until it is answered for good.

        `make_request` makes the request for a connection, with its version; `codes` takes the errors out of an answer,
        each with what it is about. The first that is not to be retried ends this, as `RefusedError`. Cancelled while
        the request is on its way, it is `in_doubt`.
        """
        place = (KeyType.TRANSACTION, self._transactional_id) if group is None else (KeyType.GROUP, group)
        attempt = 0
        while True:
            error, response, connection = await self._attempt(ask, place, make_request, codes)
            self.last_error = error
            if error is None:
                assert response is not None  # noqa: S101 - for the type checker
                assert connection is not None  # noqa: S101 - the same
                return response, connection
            effect = effect_of(ask, error)
            if effect not in {Effect.RETRY, Effect.FIND_AND_RETRY}:
                raise RefusedError(error, effect) from error
            logger.debug("%s is asked again: %s", ask.value, error)
            if effect is Effect.FIND_AND_RETRY:
                self._nodes.pop(place, None)
            await anyio.sleep(self._engine.backoff(attempt, error))
            attempt += 1

    async def _attempt(
        self,
        ask: Ask,
        place: tuple[KeyType, str],
        make_request: Callable[[Connection], tuple[Request[ResponseT], int]],
        codes: Callable[[ResponseT], list[tuple[int, str]]],
    ) -> tuple[KafkaError | None, ResponseT | None, Connection | None]:
        try:
            connection = await self._connection(place)
            request, version = make_request(connection)
            response = await self._exchange(ask, connection, request, version)
        except ProducerClosedError:
            # Whoever asks is being ended, and told why.
            await anyio.sleep_forever()
            raise
        except KafkaError as error:
            return error, None, None
        failed: KafkaError | None = None
        for code, what in codes(response):
            if code:
                told = error_of(code, f"{what} at {connection.peer}", self._transactional_id)
                if isinstance(told, RequestTimedOutError) and not ask.changes_nothing:
                    self.in_doubt = True
                if isinstance(told, _MAYBE_DONE):
                    self.may_be_done = True
                # What ends the request outweighs what is to be retried.
                if failed is None or effect_of(ask, failed) in {Effect.RETRY, Effect.FIND_AND_RETRY}:
                    failed = told
        return failed, response, connection

    async def _exchange(
        self, ask: Ask, connection: Connection, request: Request[ResponseT], version: int
    ) -> ResponseT:
        try:
            return await connection.request(request, version=version)
        except KafkaError as error:
            if error.possibly_written and not ask.changes_nothing:
                self.in_doubt = self.may_be_done = True
            raise
        except BaseException:
            if not ask.changes_nothing:
                self.in_doubt = self.may_be_done = True
            raise

    async def _connection(self, place: tuple[KeyType, str]) -> Connection:
        node_id = self._nodes.get(place)
        if node_id is None:
            node_id = self._nodes[place] = await self._find(place)
        try:
            return await self._engine.pool.connection(node_id)
        except ConnectionFailedError:
            self._nodes.pop(place, None)
            self._engine.metadata.request_update()
            raise

    async def _find(self, place: tuple[KeyType, str]) -> int:
        key_type, key = place
        avoid: Connection | None = None
        attempt = 0
        while True:
            try:
                avoid = await self._engine.pool.any_connection(avoid=avoid)
                return await self._ask_who(avoid, key_type, key)
            except ProducerClosedError:
                raise
            except KafkaError as error:
                self.last_error = error
                effect = effect_of(Ask.FIND_COORDINATOR, error)
                if effect not in {Effect.RETRY, Effect.FIND_AND_RETRY}:
                    raise RefusedError(error, effect) from error
                logger.debug("the coordinator of %r is not found yet: %s", key, error)
                await anyio.sleep(self._engine.backoff(attempt))
                attempt += 1

    async def _ask_who(self, connection: Connection, key_type: KeyType, key: str) -> int:
        version = connection.api_version(FindCoordinatorRequest)
        request = FindCoordinatorRequest(key_type=int(key_type))
        if version >= _KEYS_FROM:
            request.coordinator_keys = [key]
        else:
            request.key = key
        response = await connection.request(request, version=version)
        found: Any = response
        if version >= _KEYS_FROM:
            found = next((each for each in response.coordinators if each.key == key), None)
            if found is None:
                raise ConnectionFailedError(
                    f"FindCoordinator for {key!r} at {connection.peer} was not answered"
                )
        if found.error_code:
            said = f": {found.error_message}" if found.error_message else ""
            where = f"FindCoordinator for the {key_type.name.lower()} {key!r} at {connection.peer}{said}"
            raise error_of(found.error_code, where, self._transactional_id)
        node_id: int = found.node_id
        return node_id
