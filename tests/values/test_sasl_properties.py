"""Identity providers, AWS and Kerberos under Kafka's and librdkafka's names."""

from __future__ import annotations

import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from krafka import ProducerConfig
from krafka.auth import Auth, AwsMskIam, Gssapi, OidcClientCredentials, OidcJwtBearer
from krafka.errors import ConfigError

SECRET = "s3cr3t-of-orders"
URL = "https://login.example/oauth2/token"
OAUTH = "sasl.oauthbearer."
SECURITY = "org.apache.kafka.common.security.oauthbearer."
LOGIN = f"{SECURITY}OAuthBearerLoginModule required"
HANDLER = {"sasl.login.callback.handler.class": f"{SECURITY}OAuthBearerLoginCallbackHandler"}
KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SIGNED = {
    f"{OAUTH}assertion.private.key.file": "/run/key.pem",
    f"{OAUTH}assertion.claim.iss": "orders",
    f"{OAUTH}assertion.claim.sub": "orders",
    f"{OAUTH}assertion.claim.aud": "login",
}


@pytest.fixture(autouse=True)
def kerberos(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kerberos' package, which need not be on this machine to be configured."""
    library = ModuleType("gssapi")
    library.__spec__ = ModuleSpec("gssapi", None)
    monkeypatch.setitem(sys.modules, "gssapi", library)


def made(mechanism: str, properties: dict[str, str]) -> Auth:
    given = {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, **properties}
    auth = ProducerConfig.from_properties({"bootstrap.servers": "kafka:9092", **given}).auth
    assert auth is not None
    return auth


def refusal(mechanism: str, properties: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        made(mechanism, properties)
    told = "".join(traceback.TracebackException.from_exception(caught.value).format())
    assert SECRET not in told
    for frame, _ in traceback.walk_tb(caught.value.__traceback__):
        if frame.f_globals["__name__"] in {
            "krafka._sasl_properties",
            "krafka.auth._oidc",
            "krafka.auth._assertion",
        }:
            assert SECRET not in repr(
                {name: value for name, value in frame.f_locals.items() if name not in {"self", "entries"}}
            )
    return str(caught.value)


# -- identity providers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "properties",
    [
        {
            f"{OAUTH}client.credentials.client.id": "orders",
            f"{OAUTH}client.credentials.client.secret": SECRET,
            f"{OAUTH}scope": "produce",
            "sasl.jaas.config": f'{LOGIN} extension_logicalCluster="lkc-1";',
            **HANDLER,
        },
        {
            "sasl.jaas.config": (
                f'{LOGIN} clientId="orders" clientSecret="{SECRET}" scope="produce" extension_logicalCluster="lkc-1";'
            ),
            **HANDLER,
        },
        {
            f"{OAUTH}method": "OIDC",
            f"{OAUTH}client.id": "orders",
            f"{OAUTH}client.secret": SECRET,
            f"{OAUTH}scope": "produce",
            f"{OAUTH}extensions": "logicalCluster=lkc-1",
        },
    ],
    ids=["Kafka", "JAAS", "librdkafka"],
)
def test_client_credentials(properties: dict[str, str]) -> None:
    auth = made("OAUTHBEARER", {f"{OAUTH}token.endpoint.url": URL, **properties})
    assert isinstance(auth, OidcClientCredentials)
    assert (str(auth._endpoint.url), auth._client_id) == (URL, "orders")
    assert auth._secret is not None
    assert auth._secret.reveal() == SECRET
    assert auth._fields == {"grant_type": "client_credentials", "scope": "produce"}
    assert auth._extensions == {"logicalCluster": "lkc-1"}


@pytest.mark.parametrize(
    "grant",
    [
        {f"{OAUTH}grant.type": JWT_BEARER, f"{OAUTH}method": "oidc"},
        {f"{OAUTH}jwt.retriever.class": f"{SECURITY}JwtBearerJwtRetriever"},
    ],
    ids=["librdkafka", "Kafka"],
)
def test_a_jwt_bearer(grant: dict[str, str]) -> None:
    common = {f"{OAUTH}token.endpoint.url": URL, **grant}
    auth = made("OAUTHBEARER", {**common, f"{OAUTH}assertion.file": "/run/assertion"})
    assert isinstance(auth, OidcJwtBearer)
    assert auth._assertion == Path("/run/assertion")
    more = {f"{OAUTH}assertion.algorithm": "ES256", f"{OAUTH}assertion.claim.exp.seconds": "60"}
    auth = made("OAUTHBEARER", {**common, **SIGNED, **more})
    assert repr(auth) == (
        f"OidcJwtBearer('{URL}', SignedAssertion('/run/key.pem', issuer='orders', subject='orders', algorithm='ES256'))"
    )
    assert auth._assertion._lifetime == 60  # type: ignore[attr-defined]


def test_a_client_that_signs_instead_of_having_a_secret() -> None:
    properties = {
        f"{OAUTH}token.endpoint.url": URL,
        f"{OAUTH}client.id": "orders",
        **{name: value for name, value in SIGNED.items() if "key" not in name},
        f"{OAUTH}assertion.private.key.pem": KEY,
        f"{OAUTH}assertion.private.key.passphrase": SECRET,
    }
    auth = made("OAUTHBEARER", properties)
    assert isinstance(auth, OidcClientCredentials)
    assert auth._secret is None
    assert repr(auth._assertion).startswith("SignedAssertion(given as PEM, issuer='orders'")
    assert SECRET not in repr(vars(auth._assertion))


def test_the_environment_says_the_same() -> None:
    config = ProducerConfig.from_env(
        environ={
            "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "OAUTHBEARER",
            "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL": URL,
            "KAFKA_SASL_OAUTHBEARER_CLIENT_ID": "orders",
            "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET": SECRET,
        }
    )
    assert repr(config.auth) == f"OidcClientCredentials('{URL}', client_id='orders')"
    assert SECRET not in repr(config)
    assert SECRET not in config.explain()


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({}, "needs a source of tokens: set sasl.oauthbearer.token.endpoint.url"),
        (
            {f"{OAUTH}token.endpoint.url": URL},
            "needs sasl.oauthbearer.client.credentials.client.id and one of",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                f"{OAUTH}client.id": "orders",
                f"{OAUTH}client.secret": SECRET,
                f"{OAUTH}client.credentials.client.secret": SECRET,
            },
            "sasl.oauthbearer.client.credentials.client.secret and sasl.oauthbearer.client.secret say the same",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                f"{OAUTH}client.id": "orders",
                f"{OAUTH}client.secret": SECRET,
                "sasl.jaas.config": f'{LOGIN} clientSecret="{SECRET}";',
            },
            "sasl.oauthbearer.client.secret and clientSecret in sasl.jaas.config say the same",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                f"{OAUTH}client.id": "orders",
                f"{OAUTH}client.secret": SECRET,
                f"{OAUTH}assertion.file": "/run/assertion",
            },
            "and one of",
        ),
        (
            {f"{OAUTH}token.endpoint.url": URL, f"{OAUTH}method": "default"},
            "sasl.oauthbearer.method must be oidc",
        ),
        ({f"{OAUTH}token.endpoint.url": "login"}, "sasl.oauthbearer.client"),
        (
            {
                f"{OAUTH}token.endpoint.url": "login",
                f"{OAUTH}client.id": "orders",
                f"{OAUTH}client.secret": SECRET,
            },
            "token_url must be like",
        ),
        (
            {f"{OAUTH}token.endpoint.url": URL, f"{OAUTH}grant.type": JWT_BEARER},
            "sasl.oauthbearer.assertion.file or sasl.oauthbearer.assertion.private.key.file is missing",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                f"{OAUTH}grant.type": JWT_BEARER,
                f"{OAUTH}assertion.private.key.file": "/run/key.pem",
            },
            "sasl.oauthbearer.assertion.claim.iss is missing",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                f"{OAUTH}grant.type": JWT_BEARER,
                **SIGNED,
                f"{OAUTH}assertion.claim.exp.seconds": "soon",
            },
            "sasl.oauthbearer.assertion.claim.exp.seconds must be a number of seconds",
        ),
        (
            {
                f"{OAUTH}token.endpoint.url": URL,
                "sasl.login.callback.handler.class": "software.amazon.msk.auth.iam.IAMOAuthBearerLoginCallbackHandler",
            },
            "Java classes cannot be loaded here, and only OAuthBearerLoginCallbackHandler has a twin",
        ),
    ],
)
def test_what_cannot_be_a_provider_is_refused_by_name(properties: dict[str, str], said: str) -> None:
    assert said in refusal("OAUTHBEARER", properties)


# -- AWS -------------------------------------------------------------------------------------------------------------

IAM = "software.amazon.msk.auth.iam.IAMLoginModule required"


@pytest.mark.parametrize(
    ("jaas", "shown"),
    [
        (None, "profile=None"),
        (f"{IAM};", "profile=None"),
        (f'{IAM} awsProfileName="orders" awsDebugCreds=true;', "profile='orders'"),
        (
            f'{IAM} awsRoleArn="arn:aws:iam::1:role/r" awsRoleSessionName="s" awsRoleExternalId="e";',
            "profile=None, role_arn='arn:aws:iam::1:role/r'",
        ),
    ],
)
def test_an_identity_of_aws(jaas: str | None, shown: str) -> None:
    properties = {
        "sasl.client.callback.handler.class": "software.amazon.msk.auth.iam.IAMClientCallbackHandler"
    }
    auth = made("AWS_MSK_IAM", properties | ({} if jaas is None else {"sasl.jaas.config": jaas}))
    assert isinstance(auth, AwsMskIam)
    assert repr(auth) == f"AwsMskIam.from_default_chain(region=None, {shown})"


@pytest.mark.parametrize(
    ("jaas", "said"),
    [
        (
            f'{IAM} awsRoleSecretAccessKey="{SECRET}";',
            "sasl.jaas.config has the option awsRoleSecretAccessKey, and only",
        ),
        (f'{LOGIN} clientSecret="{SECRET}";', "AWS_MSK_IAM needs a IAMLoginModule"),
        (f'{IAM} awsRoleExternalId="e";', "external_id is for a role"),
    ],
)
def test_what_cannot_be_an_identity_of_aws_is_refused_by_name(jaas: str, said: str) -> None:
    assert said in refusal("AWS_MSK_IAM", {"sasl.jaas.config": jaas})


# -- Kerberos --------------------------------------------------------------------------------------------------------

KRB5 = "com.sun.security.auth.module.Krb5LoginModule required"


@pytest.mark.parametrize(
    ("properties", "shown"),
    [
        ({}, "'kafka', principal=None, keytab=None"),
        ({"sasl.kerberos.service.name": "queue"}, "'queue', principal=None, keytab=None"),
        (
            {"sasl.kerberos.principal": "orders@REALM", "sasl.kerberos.keytab": "/etc/orders.keytab"},
            "'kafka', principal='orders@REALM', keytab='/etc/orders.keytab'",
        ),
        (
            {
                "sasl.kerberos.service.name": "queue",
                "sasl.jaas.config": (
                    f'{KRB5} useKeyTab=true storeKey=true keyTab="/etc/orders.keytab" principal="orders@REALM";'
                ),
            },
            "'queue', principal='orders@REALM', keytab='/etc/orders.keytab'",
        ),
        (
            {"sasl.jaas.config": f'{KRB5} useTicketCache=true serviceName="queue";'},
            "'queue', principal=None, keytab=None",
        ),
    ],
)
def test_kerberos(properties: dict[str, str], shown: str) -> None:
    auth = made("GSSAPI", properties)
    assert isinstance(auth, Gssapi)
    assert repr(auth) == f"Gssapi({shown})"


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"sasl.kerberos.service.name": "queue/host"}, "service_name must be the first part"),
        ({"sasl.kerberos.kinit.cmd": "kinit"}, "give an object of krafka.auth as the option auth="),
        (
            {"sasl.kerberos.service.name": "a", "sasl.jaas.config": f'{KRB5} serviceName="b";'},
            "sasl.kerberos.service.name and serviceName in sasl.jaas.config say the same",
        ),
    ],
)
def test_what_cannot_be_kerberos_is_refused_by_name(properties: dict[str, Any], said: str) -> None:
    assert said in refusal("GSSAPI", properties)
