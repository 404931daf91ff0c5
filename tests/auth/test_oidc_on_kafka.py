"""Tokens of an identity provider on a real Kafka that checks their signatures, and ends a session with its token."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from fake_provider import ISSUER, FakeProvider, refusal
from joserfc import jwt
from joserfc.jwk import RSAKey
from loopback_http import Answer
from token_broker import token_broker
from told import everything_told

from krafka import Producer
from krafka.auth import OidcClientCredentials, OidcJwtBearer, SignedAssertion
from krafka.errors import AuthenticationError
from krafka.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loopback_http import Asked

    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECRET = "the-clients-secret"
SECONDS = 12.0
CLIENT_KEY = RSAKey.generate_key(2048)


def check(asked: Asked) -> Answer | None:
    """Refuse who is not the client, or whose assertion is not signed with its key."""
    if "assertion" in asked.form:
        jwt.decode(asked.form["assertion"], CLIENT_KEY, algorithms=["RS256"])
        return None
    form = asked.form
    known = (form.get("client_id"), form.get("client_secret")) == ("orders", SECRET)
    return None if known else refusal("invalid_client", "wrong secret", 401)


@pytest.fixture(scope="module")
def provider() -> Iterator[FakeProvider]:
    with FakeProvider(check=check) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(provider: FakeProvider) -> Iterator[KafkaCluster]:
    with token_broker(provider) as found:
        yield found


@pytest.fixture(autouse=True)
def as_before(provider: FakeProvider) -> None:
    provider.lifetime = 300
    provider.asked.clear()
    provider.tokens.clear()


def client(provider: FakeProvider, **options: Any) -> OidcClientCredentials:
    return OidcClientCredentials(
        provider.token_url, "orders", **{"client_secret": SECRET, "secret_in": "form", **options}
    )


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_sessions_that_end_with_their_tokens_are_renewed_and_lose_nothing(
    cluster: KafkaCluster, provider: FakeProvider, caplog: pytest.LogCaptureFixture
) -> None:
    provider.lifetime = 5
    caplog.set_level(logging.DEBUG, logger="krafka")
    bootstrap = cluster.bootstrap_of("SASL_PLAINTEXT")
    sent = []
    async with Producer(bootstrap, auth=client(provider), retries=0) as producer:
        end = anyio.current_time() + SECONDS
        while anyio.current_time() < end:
            sent.append(await producer.send("orders", b"%d" % len(sent)))
            await anyio.sleep(0.01)
    there = {(each.partition, each.offset): each.value for each in await cluster.read("orders")}
    assert [there[each.partition, each.offset] for each in sent] == [
        b"%d" % number for number in range(len(sent))
    ]
    renewed = [each for each in caplog.records if each.getMessage().startswith("authenticated again")]
    assert len(renewed) >= 2
    # Each renewal has a token of its own, and no two connections ask for the same.
    assert 3 <= len(provider.tokens) <= 1 + SECONDS / (5 * 0.8) + 1


async def test_a_signed_assertion_is_as_good_as_a_secret(
    cluster: KafkaCluster, provider: FakeProvider
) -> None:
    assertion = SignedAssertion(
        CLIENT_KEY.as_pem(private=True).decode(), issuer="orders", subject="orders", audience=ISSUER
    )
    bootstrap = cluster.bootstrap_of("SASL_PLAINTEXT")
    async with Producer(bootstrap, auth=OidcJwtBearer(provider.token_url, assertion)) as producer:
        written = await producer.send("orders", b"asserted")
    there = {(each.partition, each.offset): each.value for each in await cluster.read("orders")}
    assert there[written.partition, written.offset] == b"asserted"


async def test_a_secret_that_the_provider_refuses_ends_the_producer_at_once(
    cluster: KafkaCluster, provider: FakeProvider
) -> None:
    auth = client(provider, client_secret="another-secret")
    with (
        anyio.fail_after(5),
        pytest.raises(AuthenticationError, match="invalid_client: wrong secret") as caught,
    ):
        async with Producer(cluster.bootstrap_of("SASL_PLAINTEXT"), auth=auth) as producer:
            await producer.send("orders", b"never")
    assert "another-secret" not in everything_told(caught.value)
    assert len(provider.asked) == 1


async def test_a_token_that_the_broker_refuses_ends_the_producer_at_once(
    cluster: KafkaCluster, provider: FakeProvider
) -> None:
    spoilt = provider.token()[:-8] + "AAAAAAAA"
    provider.faults.append(Answer(body=json.dumps({"access_token": spoilt, "token_type": "Bearer"})))
    with anyio.fail_after(5), pytest.raises(AuthenticationError, match="invalid_token") as caught:
        async with Producer(cluster.bootstrap_of("SASL_PLAINTEXT"), auth=client(provider)) as producer:
            await producer.send("orders", b"never")
    told = everything_told(caught.value)
    assert SECRET not in told
    assert spoilt not in told
    assert len(provider.asked) == 1


async def test_a_provider_that_is_away_is_asked_until_it_is_back(
    cluster: KafkaCluster, provider: FakeProvider
) -> None:
    provider.faults.extend([Answer(503, "away")] * 3)
    auth = client(provider, retry=RetryPolicy(max_retries=0))
    async with Producer(cluster.bootstrap_of("SASL_PLAINTEXT"), auth=auth) as producer:
        await producer.send("orders", b"late")
    assert len(provider.asked) == 4
