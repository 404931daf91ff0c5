"""A broker that asks who is there: listeners with SASL, with TLS, and with both, and the users it knows."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING

from krafka.auth import OAuthBearer, Plain, ScramSha256, ScramSha512, Token
from krafka.testing import KafkaCluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from krafka.auth import Auth

USER = "alice"
PASSWORD = "alice-secret"

LOGIN = "org.apache.kafka.common.security"


def jaas(listener: str) -> dict[str, str]:
    prefix = f"listener.name.{listener}."
    validator = f"{LOGIN}.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler"
    return {
        f"{prefix}plain.sasl.jaas.config": f'{LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
        f"{prefix}scram-sha-256.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;",
        f"{prefix}scram-sha-512.sasl.jaas.config": f"{LOGIN}.scram.ScramLoginModule required;",
        f"{prefix}oauthbearer.sasl.jaas.config": (
            f'{LOGIN}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="anyone";'
        ),
        f"{prefix}oauthbearer.sasl.server.callback.handler.class": validator,
    }


def secured(listeners: Mapping[str, str] | None = None, **properties: str) -> KafkaCluster:
    """A cluster of one broker; `properties` may have underscores for dots."""
    return KafkaCluster(
        tls=True,
        listeners={"SASL_PLAINTEXT": "SASL_PLAINTEXT", "SASL_SSL": "SASL_SSL", **(listeners or {})},
        format_arguments=tuple(
            argument
            for name in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f"{name}=[name={USER},password={PASSWORD}]")
        ),
        properties={
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.ssl.ssl.client.auth": "required",
            **jaas("sasl_plaintext"),
            **jaas("sasl_ssl"),
            **{name if "." in name else name.replace("_", "."): value for name, value in properties.items()},
        },
    )


def unsecured_token(lifetime: float = 3600.0, subject: str = USER) -> Token:
    """A token of the kind that Kafka's unsecured validator believes: a JWT without a signature."""

    def part(claims: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")

    now = time.time()
    claims: dict[str, object] = {"sub": subject, "iat": now, "exp": now + lifetime}
    return Token(f"{part({'alg': 'none'})}.{part(claims)}.", expires_at=now + lifetime)


def every_auth() -> dict[str, Auth]:
    return {
        "plain": Plain(USER, PASSWORD),
        "scram-256": ScramSha256(USER, PASSWORD),
        "scram-512": ScramSha512(USER, PASSWORD),
        "oauthbearer": OAuthBearer(unsecured_token),
    }
