"""SASL on a connection to a broker: when it opens, and again before its session ends (KIP-43, KIP-152, KIP-368)."""

from __future__ import annotations

import logging
import math
import re
from random import Random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import anyio
import anyio.to_thread

from krafka._wire.sasl_authenticate import SaslAuthenticateRequest
from krafka._wire.sasl_handshake import SaslHandshakeRequest
from krafka.auth._base import Work
from krafka.errors import (
    AuthenticationError,
    ConnectionFailedError,
    IllegalSaslStateError,
    KafkaError,
    NetworkError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
    error_for_code,
)
from krafka.retry import kafka_policy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from krafka._io.connection import Connection
    from krafka._io.handshake import ApiVersionTable, StreamExchange
    from krafka._wire.sasl_authenticate import SaslAuthenticateResponse
    from krafka._wire.sasl_handshake import SaslHandshakeResponse
    from krafka._wire.schema import Request, Response
    from krafka.auth._base import Auth, Steps

    ResponseT = TypeVar("ResponseT", bound=Response)

logger = logging.getLogger(__name__)

EARLY_END_ADVICE = (
    "it may not accept the credentials and say so in no other way, as brokers before Kafka 1.0 and some proxies do, "
    "or it is shutting down or overloaded; look in its log"
)
RENEW_SHARES = (0.85, 0.95)
"""Of a session's lifetime, when to authenticate again: as Kafka's Java client does, and not everybody at once."""

SHORTEST_INTERVAL = 1.05
"""Seconds between two authentications of one connection; a broker refuses a second one within the same second."""

_LOOPBACK = re.compile(r"127(\.[0-9]{1,3}){3}")
_RENEWAL_BACKOFF = kafka_policy(0.1, 1.0)


class Ask(Protocol):
    """One request to the broker and its answer."""

    def __call__(self, request: Request[ResponseT], version: int) -> Awaitable[ResponseT]:
        """Raises the `KafkaError` that came instead of an answer."""
        ...


class Authenticator:
    """What the connections of one producer authenticate with. `is_open` says that they are not encrypted."""

    def __init__(
        self,
        auth: Auth,
        *,
        is_open: bool,
        clock: Callable[[], float] = anyio.current_time,
        random: Random | None = None,
    ) -> None:
        self.auth = auth
        self._clock = clock
        self._is_open = is_open
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing

    async def begin(self, host: str) -> Steps:
        """Make ready, as by waiting for a token. Raises as `Auth.begin` does."""
        if self._is_open and self.auth.reveals_secret and not is_loopback(host):
            self._is_open = False
            logger.warning(
                "%s without TLS: whoever can read along between here and %s learns how to log in; set tls=True and use "
                "the brokers' SASL_SSL listener",
                self.auth.mechanism,
                host,
            )
        return await self.auth.begin(host)

    async def log_in(self, exchange: StreamExchange, versions: ApiVersionTable, host: str) -> float:
        """Authenticate on a fresh stream; see `authenticate`."""
        exchange.waiting_for = f"{self.auth!r} was still getting ready, as by fetching a token"
        steps = await self.begin(host)
        exchange.waiting_for = f"it was still busy with {self.auth.mechanism}"
        exchange.early_end_advice = EARLY_END_ADVICE
        return await self.authenticate(steps, exchange.ask, versions)

    async def authenticate(self, steps: Steps, ask: Ask, versions: ApiVersionTable) -> float:
        """Log in, and return for how many seconds that holds; `math.inf` where the broker sets no limit.

        Raises `AuthenticationError` in the broker's own words, and what `ask` raises.
        """
        mechanism, peer = self.auth.mechanism, versions.peer
        try:
            handshake_version, version = _sasl_versions(versions)
            handshake = await ask(SaslHandshakeRequest(mechanism=mechanism), handshake_version)
            if handshake.error_code:
                raise _handshake_refusal(handshake, mechanism, peer)
            lifetime_ms = 0
            outcome: Any = None
            while (step := _next_step(steps, outcome)) is not None:
                if isinstance(step, Work):
                    outcome = await anyio.to_thread.run_sync(step.run, abandon_on_cancel=True)
                    continue
                answer = await ask(SaslAuthenticateRequest(auth_bytes=step), version)  # type: ignore[arg-type]
                if answer.error_code:
                    raise _refusal(answer, self.auth, peer)
                lifetime_ms = answer.session_lifetime_ms
                outcome = answer.auth_bytes
        except AuthenticationError as error:
            error.args = (f"{peer}: {error}" if peer not in str(error) else str(error),)
            raise
        finally:
            steps.close()
        return lifetime_ms / 1000 if lifetime_ms > 0 else math.inf

    async def keep_session(self, connection: Connection, versions: ApiVersionTable, lifetime: float) -> None:
        """Authenticate again, each time before the session ends, which has `lifetime` seconds to go.

        Returns when the broker sets no limit any more, or once it has ended the connection.
        """
        while lifetime < math.inf:
            ends_at = self._clock() + lifetime
            await anyio.sleep(self._renew_after(lifetime))
            steps = await self._begin_again(connection, ends_at)
            if steps is None:
                return
            connection.park()
            try:
                lifetime = await self.authenticate(steps, connection.ask, versions)
            except KafkaError as error:
                connection.end(error)
                return
            connection.unpark()
            logger.debug("authenticated again with %s", connection.peer)

    async def _begin_again(self, connection: Connection, ends_at: float) -> Steps | None:
        """The steps of the next authentication; None if there were none before the session ended."""
        attempt = 0
        failure: KafkaError = ConnectionFailedError(f"{self.auth!r} was still getting ready")
        while (left := ends_at - self._clock()) > 0:
            with anyio.move_on_after(left):
                try:
                    return await self.begin(connection.address[0])
                except KafkaError as error:
                    failure = error
                level = logging.DEBUG if attempt else logging.WARNING
                logger.log(level, "the session with %s ends in %.3g s: %s", connection.peer, left, failure)
                await anyio.sleep(_RENEWAL_BACKOFF.backoff(attempt, self._random.random()))
            attempt += 1
        connection.end(_expired(failure, connection.peer))
        return None

    def _renew_after(self, lifetime: float) -> float:
        """Seconds after which to authenticate again on a connection whose session lasts for `lifetime`."""
        return max(SHORTEST_INTERVAL, lifetime * self._random.uniform(*RENEW_SHARES))


def _sasl_versions(versions: ApiVersionTable) -> tuple[int, int]:
    handshake_version = versions.version_for(SaslHandshakeRequest)
    if handshake_version < 1:
        # Tokens would travel outside of Kafka's protocol, and a refusal would be a closed connection.
        raise UnsupportedVersionError(
            f"{versions.peer} offers SaslHandshake v{handshake_version} only, and krafka needs v1; the broker is too "
            "old: Kafka 2.1 or later is needed"
        )
    return handshake_version, versions.version_for(SaslAuthenticateRequest)


def _next_step(steps: Steps, outcome: Any) -> memoryview | Work | None:
    """What to do next, None when all is done; bytes hidden from who prints the variables of a traceback."""
    try:
        step = steps.send(outcome)
    except StopIteration:
        return None
    return step if isinstance(step, Work) else memoryview(step)


def _handshake_refusal(answer: SaslHandshakeResponse, mechanism: str, peer: str) -> KafkaError:
    if answer.error_code == UnsupportedSaslMechanismError.code:
        offered = ", ".join(answer.mechanisms) or "none"
        text = (
            f"{peer} does not offer {mechanism}; it offers: {offered}; give auth= an object for one of these"
        )
    elif answer.error_code == IllegalSaslStateError.code:
        text = (
            f"{peer} expects no SASL on this port, which may be a PLAINTEXT or SSL listener; use the port of a SASL "
            "listener, or leave out the option auth="
        )
    else:
        text = f"{peer} refused to begin {mechanism}"
    return _as_authentication_error(error_for_code(answer.error_code, text))


def _refusal(answer: SaslAuthenticateResponse, auth: Auth, peer: str) -> KafkaError:
    words = answer.error_message or "it gave no reason"
    text = f"{peer} refused {auth.mechanism}: {words}; {auth.advice()}"
    return _as_authentication_error(error_for_code(answer.error_code, text))


def _as_authentication_error(error: KafkaError) -> KafkaError:
    """The error itself if it says enough, else what it means at this point: final, or a fault that may pass."""
    if isinstance(error, AuthenticationError):
        return error
    return ConnectionFailedError(str(error)) if error.is_retriable else AuthenticationError(str(error))


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own, by its looks."""
    return host in {"localhost", "::1"} or host.endswith(".localhost") or bool(_LOOPBACK.fullmatch(host))


def _expired(error: KafkaError, peer: str) -> KafkaError:
    text = f"the session with {peer} has ended and could not be renewed: {error}"
    ended = AuthenticationError(text) if isinstance(error, AuthenticationError) else NetworkError(text)
    ended.__cause__ = error
    return ended
