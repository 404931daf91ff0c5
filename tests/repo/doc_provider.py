"""For the documentation's programs that ask an identity provider: one that gives tokens, a Kafka that takes them."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from .sources import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krafka.testing import KafkaCluster

PROVIDER = "https://login.example/oauth2/token"
"""The address of the token endpoint in the documentation."""


class Provided(NamedTuple):
    """Where the provider and its Kafka are; `variables` have a program trust the Kafka's certificate."""

    token_url: str
    kafka: KafkaCluster
    bootstrap: str
    variables: dict[str, str]


@contextmanager
def provider_and_kafka(folder: Path) -> Iterator[Provided]:
    """Both, and in the folder a key that assertions can be signed with."""
    beside = str(ROOT / "tests" / "auth")
    if beside not in sys.path:
        sys.path.append(beside)
    from fake_provider import FakeProvider
    from joserfc.jwk import RSAKey
    from token_broker import token_broker

    (folder / "key.pem").write_bytes(RSAKey.generate_key(2048).as_pem(private=True))
    with FakeProvider() as provider, token_broker(provider, "SASL_SSL") as kafka:
        trust = {"SSL_CERT_FILE": str(kafka.ca_pem)}
        yield Provided(provider.token_url, kafka, kafka.bootstrap_of("SASL_SSL"), trust)
