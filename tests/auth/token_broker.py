"""A Kafka that takes the tokens of one identity provider: it fetches the provider's keys and checks signatures."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fake_provider import AUDIENCE, ISSUER, KEYS
from secured import LOGIN

from krafka.testing import KafkaCluster
from krafka.testing._startup import SMALL_JVM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fake_provider import FakeProvider


@contextmanager
def token_broker(provider: FakeProvider, listener: str = "SASL_PLAINTEXT") -> Iterator[KafkaCluster]:
    """One broker with one such listener, of the protocol that it is called by, and with a topic `orders`."""
    prefix = f"listener.name.{listener.lower()}.oauthbearer.sasl."
    cluster = KafkaCluster(
        tls=listener == "SASL_SSL",
        listeners={listener: listener},
        properties={
            "sasl.enabled.mechanisms": "OAUTHBEARER",
            f"{prefix}jaas.config": f"{LOGIN}.oauthbearer.OAuthBearerLoginModule required;",
            f"{prefix}server.callback.handler.class": f"{LOGIN}.oauthbearer.OAuthBearerValidatorCallbackHandler",
            f"{prefix}oauthbearer.jwks.endpoint.url": f"{provider.url}{KEYS}",
            f"{prefix}oauthbearer.expected.audience": AUDIENCE,
            f"{prefix}oauthbearer.expected.issuer": ISSUER,
            f"{prefix}oauthbearer.clock.skew.seconds": "1",
        },
        java_options=(
            *SMALL_JVM,
            f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={provider.url}{KEYS}",
        ),
    )
    with cluster.sync:
        cluster.sync.create_topic("orders", partitions=3)
        yield cluster
