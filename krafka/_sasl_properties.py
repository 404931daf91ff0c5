"""Identity providers, AWS and Kerberos under Kafka's and librdkafka's names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from krafka.auth import AwsMskIam, Gssapi, OidcClientCredentials, OidcJwtBearer, SignedAssertion
from krafka.auth._secret import Secret
from krafka.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from krafka._jaas import LoginModule
    from krafka._property import Property
    from krafka.auth import Auth

    Entries = Mapping[str, Property]

_OAUTH = "sasl.oauthbearer."
TOKEN_URL = f"{_OAUTH}token.endpoint.url"
_METHOD = f"{_OAUTH}method"
_GRANT = f"{_OAUTH}grant.type"
_RETRIEVER = f"{_OAUTH}jwt.retriever.class"
_CLIENT_ID = (f"{_OAUTH}client.credentials.client.id", f"{_OAUTH}client.id")
_CLIENT_SECRET = (f"{_OAUTH}client.credentials.client.secret", f"{_OAUTH}client.secret")
_SCOPE = (f"{_OAUTH}scope",)
_EXTENSIONS = f"{_OAUTH}extensions"
_ASSERTION_FILE = f"{_OAUTH}assertion.file"
_KEY = (f"{_OAUTH}assertion.private.key.file", f"{_OAUTH}assertion.private.key.pem")
_PASSPHRASE = f"{_OAUTH}assertion.private.key.passphrase"
_ALGORITHM = f"{_OAUTH}assertion.algorithm"
_LIFETIME = f"{_OAUTH}assertion.claim.exp.seconds"
_CLAIMS = {
    "issuer": f"{_OAUTH}assertion.claim.iss",
    "subject": f"{_OAUTH}assertion.claim.sub",
    "audience": f"{_OAUTH}assertion.claim.aud",
}
_JWT_BEARER = ("urn:ietf:params:oauth:grant-type:jwt-bearer", "JwtBearerJwtRetriever")

_KERBEROS = "sasl.kerberos."
_SERVICE, _PRINCIPAL, _KEYTAB = (f"{_KERBEROS}{name}" for name in ("service.name", "principal", "keytab"))

_HANDLERS = {
    "sasl.login.callback.handler.class": ("OAuthBearerLoginCallbackHandler",),
    "sasl.client.callback.handler.class": ("IAMClientCallbackHandler",),
}
"""What Java needs to be told to do what a mechanism's object does here; by the last part of the class's name."""

SASL_PROPERTIES = frozenset(
    {
        TOKEN_URL,
        _METHOD,
        _GRANT,
        _RETRIEVER,
        *_CLIENT_ID,
        *_CLIENT_SECRET,
        *_SCOPE,
        _EXTENSIONS,
        _ASSERTION_FILE,
        *_KEY,
        _PASSPHRASE,
        _ALGORITHM,
        _LIFETIME,
        *_CLAIMS.values(),
        _SERVICE,
        _PRINCIPAL,
        _KEYTAB,
        *_HANDLERS,
    }
)
"""What is read here."""

_AWS_IGNORED = frozenset({"awsDebugCreds", "awsMaxRetries", "awsMaxBackOffTimeMs"})
_AWS_OPTIONS = {
    "awsProfileName": "profile",
    "awsRoleArn": "role_arn",
    "awsRoleSessionName": "role_session_name",
    "awsRoleExternalId": "external_id",
}


def check_handlers(entries: Entries) -> None:
    """Raise `ConfigError` for a Java class that has no twin here."""
    for name, known in _HANDLERS.items():
        entry = entries.get(name)
        if entry is not None and entry.text and entry.text.rpartition(".")[2] not in known:
            raise ConfigError(
                f"{entry.label} cannot be used: Java classes cannot be loaded here, and only {known[0]} has a twin; "
                "give an object of krafka.auth as the option auth=",
                option="auth",
            )


def oidc(entries: Entries, login: LoginModule | None) -> Auth | None:
    """Who asks an identity provider for tokens; None if there is no address of one."""
    url = _text(entries, TOKEN_URL)
    if url is None:
        return None
    method = entries.get(_METHOD)
    if method is not None and method.text.lower() != "oidc":
        raise ConfigError(f"{method.label} must be oidc where there is a {TOKEN_URL}", option="auth")
    scope = _secret(entries, _SCOPE, login, "scope")
    options = {"scope": None if scope is None else scope.reveal(), "extensions": _extensions(entries, login)}
    grant = (_text(entries, _GRANT) or "", (_text(entries, _RETRIEVER) or "").rpartition(".")[2])
    client_id = _secret(entries, _CLIENT_ID, login, "clientId")
    assertion = _assertion(entries)
    if any(each in _JWT_BEARER for each in grant):
        if assertion is None:
            raise ConfigError(
                f"{_ASSERTION_FILE} or {_KEY[0]} is missing, which this grant needs", option="auth"
            )
        return OidcJwtBearer(url, assertion, client_id=_revealed(client_id), **options)  # type: ignore[arg-type]
    secret = _secret(entries, _CLIENT_SECRET, login, "clientSecret")
    if client_id is None or (secret is None) == (assertion is None):
        raise ConfigError(
            f"OAUTHBEARER with {TOKEN_URL} needs {_CLIENT_ID[0]} and one of {_CLIENT_SECRET[0]}, {_ASSERTION_FILE} and "
            f"{_KEY[0]}",
            option="auth",
        )
    return OidcClientCredentials(
        url,
        client_id.reveal(),
        _revealed(secret),
        client_assertion=assertion,
        **options,  # type: ignore[arg-type]
    )


def _assertion(entries: Entries) -> Path | SignedAssertion | None:
    file, key = _text(entries, _ASSERTION_FILE), _secret(entries, _KEY, None, "")
    if file is not None:
        return Path(file)
    if key is None:
        return None
    claims: dict[str, Any] = {}
    for name, spelling in _CLAIMS.items():
        claim = _text(entries, spelling)
        if claim is None:
            raise ConfigError(
                f"{spelling} is missing, which an assertion that is signed here needs", option="auth"
            )
        claims[name] = claim
    lifetime = entries.get(_LIFETIME)
    if lifetime is not None and not lifetime.text.isdecimal():
        raise ConfigError(f"{lifetime.label} must be a number of seconds", option="auth")
    return SignedAssertion(
        key.reveal(),
        **claims,
        algorithm=_text(entries, _ALGORITHM) or "RS256",
        private_key_password=_revealed(_secret(entries, (_PASSPHRASE,), None, "")),
        lifetime=300 if lifetime is None else int(lifetime.text),
    )


def _extensions(entries: Entries, login: LoginModule | None) -> dict[str, str]:
    """Java has them among the options of the login module, librdkafka as one line."""
    found = {
        name.removeprefix("extension_"): value.reveal()
        for name, value in ({} if login is None else login.options).items()
        if name.startswith("extension_")
    }
    for pair in filter(None, (_text(entries, _EXTENSIONS) or "").split(",")):
        name, _, value = pair.partition("=")
        found[name.strip()] = value.strip()
    return found


def aws(entries: Entries, login: LoginModule | None) -> Auth:
    """AWS's default chain, with what the login module says of profile and role."""
    options = {} if login is None else login.options
    given = {}
    for name, value in options.items():
        if name in _AWS_OPTIONS:
            given[_AWS_OPTIONS[name]] = value.reveal()
        elif name not in _AWS_IGNORED:
            raise ConfigError(
                f"sasl.jaas.config has the option {name}, and only {', '.join(_AWS_OPTIONS)} are understood; give an "
                " AwsMskIam as the option auth= for anything else",
                option="auth",
            )
    return AwsMskIam.from_default_chain(**given)


def kerberos(entries: Entries, login: LoginModule | None) -> Auth:
    """Kerberos with the tickets of the cache, or with a keytab."""
    service = _secret(entries, (_SERVICE,), login, "serviceName")
    principal = _secret(entries, (_PRINCIPAL,), login, "principal")
    keytab = _secret(entries, (_KEYTAB,), login, "keyTab")
    return Gssapi(
        "kafka" if service is None else service.reveal(),
        principal=_revealed(principal),
        keytab=_revealed(keytab),
    )


def _text(entries: Entries, name: str) -> str | None:
    return entries[name].text or None if name in entries else None


def _revealed(secret: Secret | None) -> str | None:
    return None if secret is None else secret.reveal()


def _secret(
    entries: Entries, names: Collection[str], login: LoginModule | None, option: str
) -> Secret | None:
    """The one value that a property or the login module's option gives; None if there is none."""
    given = [entries[name] for name in names if name in entries and entries[name].text]
    found = None if login is None else login.options.get(option)
    labels = [entry.label for entry in given]
    if found is not None and found.reveal():
        labels.append(f"{option} in sasl.jaas.config")
    if len(labels) > 1:
        raise ConfigError(f"{labels[0]} and {labels[1]} say the same; keep one of them", option="auth")
    return Secret(given[0].text) if given else found
