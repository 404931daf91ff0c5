"""The options `tls` and `auth` under Kafka's and librdkafka's names, several of which make one object."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any

from krafka._jaas import parse_jaas
from krafka._property import Property, boolean
from krafka._sasl_properties import SASL_PROPERTIES, TOKEN_URL, aws, check_handlers, kerberos, oidc
from krafka.auth import OAuthBearer, Plain, ScramSha256, ScramSha512, TlsConfig, Token
from krafka.auth._secret import Secret
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from krafka._jaas import LoginModule
    from krafka.auth import Auth

PROTOCOL = "security.protocol"
_PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")

_MECHANISM = ("sasl.mechanism", "sasl.mechanisms")
_JAAS = "sasl.jaas.config"
_CREDENTIALS = ("sasl.username", "sasl.password", _JAAS)

_CA = ("ssl.ca.location", "ssl.ca.pem", "ssl.truststore.location", "ssl.truststore.certificates")
_CERTIFICATE = (
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.keystore.location",
    "ssl.keystore.certificate.chain",
)
_KEY = ("ssl.key.location", "ssl.key.pem", "ssl.keystore.key")
_STORE_TYPES = {
    "ssl.truststore.location": "ssl.truststore.type",
    "ssl.keystore.location": "ssl.keystore.type",
}
_STORE_PASSWORDS = ("ssl.truststore.password", "ssl.keystore.password")
_KEY_PASSWORD = "ssl.key.password"  # noqa: S105 - the name of a property
_HOST_CHECK = "ssl.endpoint.identification.algorithm"
_VERIFY = "enable.ssl.certificate.verification"

SECURITY_PROPERTIES = frozenset(
    {
        PROTOCOL,
        *_MECHANISM,
        *_CREDENTIALS,
        *_CA,
        *_CERTIFICATE,
        *_KEY,
        *_STORE_TYPES.values(),
        *_STORE_PASSWORDS,
        _KEY_PASSWORD,
        _HOST_CHECK,
        _VERIFY,
        *SASL_PROPERTIES,
    }
)
"""What `security_options` takes."""

_CONVERT = (
    "openssl pkcs12 -in {store} -out store.pem -noenc (a JKS file first: keytool -importkeystore -srckeystore {store} "
    "-destkeystore store.p12 -deststoretype PKCS12)"
)


def security_options(
    entries: Mapping[str, Property], overridden: Collection[str]
) -> dict[str, tuple[str, Any]]:
    """The options `tls` and `auth` that these properties make, but those that are `overridden`.

    As in Kafka, `security.protocol` decides what counts: with PLAINTEXT nothing else of these does. Raises
    `ConfigError`, also for properties without a `security.protocol` that would have them count.
    """
    protocol = _protocol(entries)
    found: dict[str, tuple[str, Any]] = {}
    if protocol is None:
        idle = sorted(name for name in entries if name != PROTOCOL)
        wanted = "tls" if all(name.startswith(("ssl.", "enable.")) for name in idle) else "auth"
        if idle and wanted not in overridden:
            raise ConfigError(
                f"{entries[idle[0]].label} has no effect without security.protocol: SSL, SASL_SSL or SASL_PLAINTEXT",
                option=wanted,
            )
        return found
    origin = entries[PROTOCOL].origin
    if "tls" not in overridden:
        found["tls"] = (origin, _tls(entries) if protocol.endswith("SSL") else False)
    if protocol.startswith("SASL") and "auth" not in overridden:
        found["auth"] = (origin, _auth(entries))
    return found


def _protocol(entries: Mapping[str, Property]) -> str | None:
    entry = entries.get(PROTOCOL)
    if entry is None:
        return None
    protocol = entry.text.upper()
    if protocol not in _PROTOCOLS:
        names = ", ".join(_PROTOCOLS)
        raise ConfigError(f"{entry.label} must be one of {names}, got {entry.value!r}", option="tls")
    return protocol


def _only(entries: Mapping[str, Property], names: Collection[str], option: str) -> Property | None:
    """The one property of several that say the same in different ways. Empty ones count as not given."""
    given = [entries[name] for name in names if name in entries and entries[name].text]
    if len(given) > 1:
        raise ConfigError(
            f"{given[0].label} and {given[1].label} say the same; keep one of them", option=option
        )
    return given[0] if given else None


# -- TLS ---------------------------------------------------------------------------------------------------------------


def _tls(entries: Mapping[str, Property]) -> bool | TlsConfig:
    options: dict[str, Any] = {
        name: _pem(entries, entry)
        for name, names in (("ca", _CA), ("certificate", _CERTIFICATE), ("key", _KEY))
        if (entry := _only(entries, names, "tls")) is not None
    }
    for name in _STORE_PASSWORDS:
        if name in entries and entries[name].text:
            raise ConfigError(
                f"{entries[name].label} cannot be used: PEM stores have no password but that of their key, which is "
                f"{_KEY_PASSWORD}",
                option="tls",
            )
    if _KEY_PASSWORD in entries and entries[_KEY_PASSWORD].text:
        options["key_password"] = str(entries[_KEY_PASSWORD].value)
    if _HOST_CHECK in entries and entries[_HOST_CHECK].text.lower() in {"", "none"}:
        options["check_hostname"] = False
    elif _HOST_CHECK in entries and entries[_HOST_CHECK].text.lower() != "https":
        raise ConfigError(f"{entries[_HOST_CHECK].label} must be https, none or empty", option="tls")
    if _VERIFY in entries and not boolean(entries[_VERIFY]):
        options["verify"] = False
        options.pop("ca", None)
    return TlsConfig(**options) if options else True


def _pem(entries: Mapping[str, Property], entry: Property) -> str:
    """The path or the text that a property has, if it is PEM."""
    kind_name = _STORE_TYPES.get(entry.name)
    if kind_name is not None:
        kind = entries[kind_name].text if kind_name in entries else "JKS, the default,"
        if kind.upper() != "PEM":
            raise ConfigError(
                f"{entry.label} cannot be used: krafka reads PEM files only, not {kind}; convert it with: "
                f"{_CONVERT.format(store=entry.text)}, and set {kind_name}=PEM",
                option="tls",
            )
    return entry.text


# -- SASL --------------------------------------------------------------------------------------------------------------


def _auth(entries: Mapping[str, Property]) -> Auth:
    mechanism = _only(entries, _MECHANISM, "auth")
    if mechanism is None:
        raise ConfigError(
            f"sasl.mechanism is missing, which {entries[PROTOCOL].origin} needs: one of {', '.join(MECHANISMS)}; or "
            "give auth=",
            option="auth",
        )
    make = MECHANISMS.get(mechanism.text.upper())
    if make is None:
        raise ConfigError(
            f"{mechanism.label} must be one of {', '.join(MECHANISMS)}, got {mechanism.value!r}; for other mechanisms "
            "give an object of krafka.auth as the option auth=",
            option="auth",
        )
    check_handlers(entries)
    return make(entries, mechanism.text.upper())


def login_module(entries: Mapping[str, Property], mechanism: str, module: str) -> LoginModule | None:
    """What `sasl.jaas.config` says, if it is given; it must be the mechanism's own module."""
    entry = entries.get(_JAAS)
    if entry is None or not entry.text:
        return None
    found = parse_jaas(Secret(entry.text), entry.label)
    if found.name != module:
        raise ConfigError(
            f"{entry.label} has a {found.name}, and {mechanism} needs a {module}", option="auth"
        )
    return found


def _password(
    entries: Mapping[str, Property], mechanism: str, module: str
) -> tuple[Secret, Secret, LoginModule | None]:
    """User and password, from the login module or by librdkafka's names."""
    login = login_module(entries, mechanism, module)
    named = {name: entries[name] for name in ("sasl.username", "sasl.password") if name in entries}
    if login is not None and named:
        label = next(iter(named.values())).label
        raise ConfigError(
            f"{entries[_JAAS].label} and {label} both set credentials; keep one of them", option="auth"
        )
    if login is not None:
        found = {
            f"sasl.{name}": login.options[name] for name in ("username", "password") if name in login.options
        }
        where = entries[_JAAS].label
    else:
        found = {name: Secret(str(entry.value)) for name, entry in named.items()}
        where = "sasl.username and sasl.password, or sasl.jaas.config"
    if len(found) < 2:
        raise ConfigError(f"{mechanism} needs a username and a password; set them by {where}", option="auth")
    return found["sasl.username"], found["sasl.password"], login


def _plain(entries: Mapping[str, Property], mechanism: str) -> Auth:
    username, password, _ = _password(entries, mechanism, "PlainLoginModule")
    return Plain(username.reveal(), password.reveal())


def _scram(entries: Mapping[str, Property], mechanism: str) -> Auth:
    username, password, login = _password(entries, mechanism, "ScramLoginModule")
    token = login is not None and login.options.get("tokenauth", Secret("")).reveal().lower() == "true"
    kind = ScramSha256 if mechanism == "SCRAM-SHA-256" else ScramSha512
    return kind(username.reveal(), password.reveal(), delegation_token=token)


def _oauthbearer(entries: Mapping[str, Property], mechanism: str) -> Auth:
    login = login_module(entries, mechanism, "OAuthBearerLoginModule")
    provider = oidc(entries, login)
    if provider is not None:
        return provider
    subject = None if login is None else login.options.get("unsecuredLoginStringClaim_sub")
    if subject is None:
        raise ConfigError(
            f"{mechanism} needs a source of tokens: set {TOKEN_URL}, or give OAuthBearer(function) as the option auth=",
            option="auth",
        )
    return OAuthBearer(UnsecuredTokens(subject.reveal()))


def _aws_msk_iam(entries: Mapping[str, Property], mechanism: str) -> Auth:
    return aws(entries, login_module(entries, mechanism, "IAMLoginModule"))


def _gssapi(entries: Mapping[str, Property], mechanism: str) -> Auth:
    return kerberos(entries, login_module(entries, mechanism, "Krb5LoginModule"))


class UnsecuredTokens:
    """Makes tokens without a signature, as Kafka's own login module does when nothing else is said: for tests only."""

    LIFETIME = 3600

    def __init__(self, subject: str) -> None:
        self._subject = subject

    async def __call__(self) -> Token:
        now = time.time()
        claims = {"sub": self._subject, "iat": now, "exp": now + self.LIFETIME}
        parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in ({"alg": "none"}, claims)]
        text = ".".join(part.decode().rstrip("=") for part in parts)
        return Token(f"{text}.", expires_at=now + self.LIFETIME)


MECHANISMS: dict[str, Callable[[Mapping[str, Property], str], Auth]] = {
    "PLAIN": _plain,
    "SCRAM-SHA-256": _scram,
    "SCRAM-SHA-512": _scram,
    "OAUTHBEARER": _oauthbearer,
    "AWS_MSK_IAM": _aws_msk_iam,
    "GSSAPI": _gssapi,
}
"""By mechanism: what makes its object of the properties."""
