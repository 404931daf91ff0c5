"""A broker that wants to hear every second or two who is there: every connection tells it, and no record is lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from renewal_load import TOPIC, load
from secured import every_auth, secured, unsecured_token

from krafka import Producer
from krafka.auth import OAuthBearer
from krafka.errors import AuthenticationError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krafka.testing import KafkaCluster

pytestmark = [pytest.mark.anyio, pytest.mark.kafka]

SECONDS = 4.0
RECORDS = 8000


@pytest.fixture(scope="module")
def forgetful_kafka() -> Iterator[KafkaCluster]:
    cluster = secured(connections_max_reauth_ms="1500")
    with cluster.sync:
        cluster.sync.create_topic(TOPIC, partitions=6)
        yield cluster


@pytest.mark.parametrize(
    ("name", "anyio_backend"),
    [
        ("plain", ("asyncio", {"use_uvloop": True})),
        ("scram-256", ("trio", {})),
        ("scram-512", ("asyncio", {})),
        ("oauthbearer", ("asyncio", {})),
    ],
    indirect=["anyio_backend"],
)
async def test_nothing_is_lost_over_renewals(forgetful_kafka: KafkaCluster, name: str) -> None:
    before = Counter(each.value for each in await forgetful_kafka.read(TOPIC))
    done = await load(forgetful_kafka, every_auth()[name], seconds=SECONDS, records=RECORDS)
    after = Counter(each.value for each in await forgetful_kafka.read(TOPIC))
    assert done.failures == []
    assert after - before == Counter([b"first", *(b"%d" % number for number in range(RECORDS))])
    # A connection that had not told in time would have been closed, and there would be more of them.
    assert done.connections <= 2
    assert done.renewals >= 2 * done.connections


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_token_that_lives_shortly_is_followed_by_the_next(forgetful_kafka: KafkaCluster) -> None:
    fetched = 0

    async def token() -> Any:
        nonlocal fetched
        fetched += 1
        return unsecured_token(lifetime=1.5)

    done = await load(forgetful_kafka, OAuthBearer(token), seconds=SECONDS, records=RECORDS)
    assert done.failures == []
    assert done.renewals >= 2
    assert fetched >= 3


async def test_who_becomes_another_is_refused_and_connects_anew(
    forgetful_kafka: KafkaCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """A renewal may not change who this client is; a new connection may."""
    subjects = iter(["alice", "bob", *["carol"] * 100])
    auth = OAuthBearer(lambda: unsecured_token(lifetime=1.5, subject=next(subjects)))
    async with Producer(forgetful_kafka.bootstrap_of("SASL_PLAINTEXT"), auth=auth) as producer:
        await producer.send(TOPIC, b"alice")
        await anyio.sleep(2.5)
        await producer.send(TOPIC, b"somebody else")
    assert "Cannot change principals during re-authentication" in caplog.text


async def test_credentials_that_are_gone_end_the_producer(forgetful_kafka: KafkaCluster) -> None:
    gone = False

    def token() -> Any:
        return unsecured_token(lifetime=-60 if gone else 1.5)

    async with Producer(forgetful_kafka.bootstrap_of("SASL_PLAINTEXT"), auth=OAuthBearer(token)) as producer:
        await producer.send(TOPIC, b"still here")
        gone = True
        with anyio.fail_after(10), pytest.raises(KafkaError) as caught:
            while True:
                await producer.send(TOPIC, b"more")
                await anyio.sleep(0.02)
    assert isinstance(caught.value, AuthenticationError)
    assert "invalid_token" in str(caught.value)
