"""TLS and SASL under Kafka's and librdkafka's names: what they make, what they may not be, and that no secret shows."""

from __future__ import annotations

import contextlib
import time
import traceback
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from krafka import Producer, ProducerConfig
from krafka._jaas import parse_jaas
from krafka._property import Property
from krafka.auth import Auth, OAuthBearer, Plain, ScramSha256, ScramSha512, TlsConfig
from krafka.auth._secret import Secret
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "s3cr3t-of-alice"
MODULES = "org.apache.kafka.common.security"
PLAIN_JAAS = f'{MODULES}.plain.PlainLoginModule required username="alice" password="{SECRET}";'
SCRAM_JAAS = f'{MODULES}.scram.ScramLoginModule required username="alice" password="{SECRET}"'
BY_NAME = {"sasl.username": "alice", "sasl.password": SECRET}


def made(properties: dict[str, object], **options: Any) -> ProducerConfig:
    return ProducerConfig.from_properties({"bootstrap.servers": "kafka:9092", **properties}, **options)


def password_of(auth: Auth | None) -> tuple[str, str]:
    assert isinstance(auth, Plain | ScramSha256 | ScramSha512)
    return auth.username, auth._password.reveal()


@pytest.mark.parametrize(
    ("properties", "kind", "delegation_token"),
    [
        ({"sasl.mechanism": "PLAIN", **BY_NAME}, Plain, None),
        ({"sasl.mechanisms": "PLAIN", **BY_NAME}, Plain, None),
        ({"sasl.mechanism": "PLAIN", "sasl.jaas.config": PLAIN_JAAS}, Plain, None),
        ({"sasl.mechanism": "SCRAM-SHA-256", **BY_NAME}, ScramSha256, False),
        ({"sasl.mechanism": "scram-sha-512", "sasl.jaas.config": f"{SCRAM_JAAS};"}, ScramSha512, False),
        (
            {"sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": f'{SCRAM_JAAS} tokenauth="true";'},
            ScramSha512,
            True,
        ),
    ],
)
@pytest.mark.parametrize(("protocol", "tls"), [("SASL_SSL", True), ("sasl_plaintext", False)])
def test_users_and_passwords(
    properties: dict[str, object],
    kind: type[Auth],
    delegation_token: bool | None,
    protocol: str,
    *,
    tls: bool,
) -> None:
    config = made({"security.protocol": protocol, **properties})
    assert type(config.auth) is kind
    assert password_of(config.auth) == ("alice", SECRET)
    assert getattr(config.auth, "delegation_token", None) == delegation_token
    assert config.tls is tls


def test_the_environment_says_the_same() -> None:
    variables = {
        "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_SASL_JAAS_CONFIG": PLAIN_JAAS,
        "KAFKA_SSL_CA_LOCATION": "/etc/ca.pem",
    }
    config = ProducerConfig.from_env(environ=variables)
    assert password_of(config.auth) == ("alice", SECRET)
    assert repr(config.tls) == "TlsConfig(ca='/etc/ca.pem')"


def test_a_file_as_java_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "client.properties"
    path.write_text(
        "bootstrap.servers=kafka:9092\n"
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
        "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n"
        '  username="alice" \\\n  password="s3cr\\\\"3t";\n'
    )
    assert password_of(ProducerConfig.from_properties(path).auth) == ("alice", 's3cr"3t')


PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
KEY_PEM = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("properties", "shown"),
    [
        ({"ssl.ca.location": "/ca.pem"}, "TlsConfig(ca='/ca.pem')"),
        ({"ssl.ca.pem": PEM}, "TlsConfig(ca=<PEM text>)"),
        ({"ssl.truststore.location": "/t.pem", "ssl.truststore.type": "PEM"}, "TlsConfig(ca='/t.pem')"),
        ({"ssl.truststore.certificates": PEM, "ssl.truststore.type": "PEM"}, "TlsConfig(ca=<PEM text>)"),
        (
            {
                "ssl.certificate.location": "/c.pem",
                "ssl.key.location": "/k.pem",
                "ssl.key.password": SECRET,
            },
            "TlsConfig(certificate='/c.pem', key='/k.pem', key_password=<hidden>)",
        ),
        ({"ssl.keystore.location": "/k.pem", "ssl.keystore.type": "pem"}, "TlsConfig(certificate='/k.pem')"),
        (
            {"ssl.keystore.certificate.chain": PEM, "ssl.keystore.key": KEY_PEM, "ssl.keystore.type": "PEM"},
            "TlsConfig(certificate=<PEM text>, key=<PEM text>)",
        ),
        (
            {"ssl.certificate.pem": PEM, "ssl.key.pem": KEY_PEM},
            "TlsConfig(certificate=<PEM text>, key=<PEM text>)",
        ),
        ({"ssl.endpoint.identification.algorithm": ""}, "TlsConfig(check_hostname=False)"),
        ({"ssl.endpoint.identification.algorithm": "none"}, "TlsConfig(check_hostname=False)"),
        ({"ssl.endpoint.identification.algorithm": "https"}, "True"),
        (
            {"enable.ssl.certificate.verification": "false", "ssl.ca.location": "/ca"},
            "TlsConfig(verify=False)",
        ),
        ({"enable.ssl.certificate.verification": True}, "True"),
        ({"ssl.ca.location": ""}, "True"),
    ],
)
def test_certificates(properties: dict[str, object], shown: str) -> None:
    config = made({"security.protocol": "SSL", **properties})
    assert repr(config.tls) == shown
    assert config.auth is None


def test_plaintext_leaves_the_rest_without_effect_as_kafka_does() -> None:
    config = made(
        {"security.protocol": "PLAINTEXT", "ssl.ca.location": "/ca", "sasl.mechanism": "PLAIN", **BY_NAME}
    )
    assert config.tls is False
    assert config.auth is None


def test_the_callers_own_objects_win() -> None:
    mine = Plain("bob", "b0b-s3cr3t")
    trust = TlsConfig(ca="/mine.pem")
    config = made({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}, auth=mine)
    assert config.auth is mine
    config = made({"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", **BY_NAME}, tls=trust)
    assert config.tls is trust
    assert password_of(config.auth) == ("alice", SECRET)
    config = made({"ssl.ca.location": "/ca"}, tls=trust)
    assert config.tls is trust


@pytest.mark.parametrize(
    ("properties", "text"),
    [
        ({"ssl.ca.location": "/ca"}, "ssl.ca.location has no effect without security.protocol"),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"},
            "PLAIN needs a username and a password",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.password": SECRET},
            "PLAIN needs a username and a password; set them by sasl.username and sasl.password, or sasl.jaas.config",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "KRB9"},
            "sasl.mechanism must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER.*, got 'KRB9'",
        ),
        (
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.jaas.config": PLAIN_JAAS,
                **BY_NAME,
            },
            "sasl.jaas.config and sasl.username both set credentials",
        ),
        (
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "SCRAM-SHA-256",
                "sasl.jaas.config": PLAIN_JAAS,
            },
            "sasl.jaas.config has a PlainLoginModule, and SCRAM-SHA-256 needs a ScramLoginModule",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": PLAIN_JAAS[:-1]},
            r"sasl.jaas.config must be of the form .*semicolon.*\(its value is not shown\)",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": PLAIN_JAAS * 2},
            "one module only",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER"},
            r"OAUTHBEARER needs a source of tokens.*OAuthBearer\(function\)",
        ),
        (
            {
                "security.protocol": "SASL_SSL",
                "sasl.mechanism": "PLAIN",
                "sasl.mechanisms": "PLAIN",
                **BY_NAME,
            },
            "sasl.mechanism and sasl.mechanisms say the same",
        ),
        (
            {
                "security.protocol": "SSL",
                "ssl.truststore.location": "/t.jks",
                "ssl.truststore.password": SECRET,
            },
            r"ssl.truststore.location cannot be used: .*not JKS, the default,; .*openssl pkcs12 -in /t.jks .*keytool",
        ),
        (
            {"security.protocol": "SSL", "ssl.keystore.location": "/k.p12", "ssl.keystore.type": "PKCS12"},
            r"ssl.keystore.location cannot be used: .*not PKCS12; .*ssl.keystore.type=PEM",
        ),
        (
            {
                "security.protocol": "SSL",
                "ssl.keystore.location": "/k",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.password": SECRET,
            },
            "ssl.keystore.password cannot be used: .*ssl.key.password",
        ),
        ({"security.protocol": "SSL", "ssl.key.location": "/k"}, "key must go with certificate"),
        (
            {"security.protocol": "SSL", "ssl.ca.location": "/a", "ssl.ca.pem": PEM},
            "ssl.ca.location and ssl.ca.pem say the same",
        ),
        (
            {"security.protocol": "SSL", "ssl.endpoint.identification.algorithm": "x"},
            "must be https, none or empty",
        ),
        (
            {"security.protocol": "SSL", "enable.ssl.certificate.verification": "maybe"},
            "must be true or false",
        ),
        (
            {"sasl.kerberos.kinit.cmd": "kinit"},
            "sasl.kerberos.kinit.cmd cannot be used: give an object",
        ),
        ({"sasl.login.class": "x"}, "Java classes cannot be loaded"),
        (
            {"sasl.passwort": SECRET},
            "sasl.passwort is an unknown property; the nearest known one is sasl.password",
        ),
        ({"ssl.ca.locaton": "/x"}, "nearest known one is ssl.ca.location"),
    ],
)
def test_what_does_not_fit_is_refused_and_shows_no_secret(properties: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        ProducerConfig.from_properties({"bootstrap.servers": "kafka:9092", **properties})
    assert SECRET not in str(caught.value)
    assert SECRET not in of_krafka(caught.value)
    variables = {"K_" + name.upper().replace(".", "_"): str(value) for name, value in properties.items()}
    with pytest.raises(ConfigError) as caught:
        ProducerConfig.from_env("K_", {"K_BOOTSTRAP_SERVERS": "kafka:9092", **variables})
    assert SECRET not in of_krafka(caught.value)


def of_krafka(error: BaseException) -> str:
    """The error as a reporter of crashes shows it: with the variables of each of krafka's own functions."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    told.stack[:] = [frame for frame in told.stack if "/krafka/" in frame.filename]
    assert told.stack
    return "".join(told.format())


def test_no_secret_shows_in_what_a_configuration_tells() -> None:
    config = made(
        {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.jaas.config": PLAIN_JAAS,
            "ssl.certificate.location": "/c.pem",
            "ssl.key.pem": KEY_PEM,
            "ssl.key.password": SECRET,
        }
    )
    told = f"{config!r} {config.explain()} {config.auth!r} {config.tls!r} {Producer(config).config!r}"
    assert "username='alice'" in told
    assert SECRET not in told
    assert SECRET not in repr(ProducerConfig.describe())


def test_where_a_value_is_from_is_told_without_it_if_it_may_be_secret() -> None:
    assert Property("sasl.password", SECRET, "sasl.password in x").origin == "sasl.password in x"
    assert Property("linger.ms", "5", "KAFKA_LINGER_MS").origin == "KAFKA_LINGER_MS ('5')"


@pytest.mark.parametrize("wrong", [SECRET, ("alice", SECRET), {"password": SECRET}, Plain])
def test_what_is_no_auth_is_not_shown(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"auth must be an object of krafka\.auth") as caught:
        ProducerConfig(bootstrap_servers="kafka:9092", auth=wrong)
    assert SECRET not in str(caught.value)


def test_unsecured_tokens_are_those_of_kafkas_own_login_module() -> None:
    jaas = f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="alice";'
    config = made(
        {"security.protocol": "SASL_SSL", "sasl.mechanism": "OAUTHBEARER", "sasl.jaas.config": jaas}
    )
    assert isinstance(config.auth, OAuthBearer)
    token = anyio.run(config.auth._tokens.current)
    assert token.value.count(".") == 2
    assert token.value.endswith(".")
    assert token.expires_at == pytest.approx(time.time() + 3600, abs=60)


@given(
    value=st.text(st.characters(exclude_categories=["Cs"])),
    other=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_any_text_goes_between_quotes(value: str, other: str) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    module = parse_jaas(Secret(f" a.b.Module  required x={quoted(value)}\n\ty = {quoted(other)} ; "), "jaas")
    assert module.name == "Module"
    assert {name: secret.reveal() for name, secret in module.options.items()} == {"x": value, "y": other}


@given(noise=st.text(alphabet='ab=";\\ .', max_size=200))
def test_no_noise_keeps_the_parser_busy(noise: str) -> None:
    with contextlib.suppress(ConfigError):
        assert parse_jaas(Secret(f"a.Module required {noise}"), "jaas").name == "Module"
