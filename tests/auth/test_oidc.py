"""Tokens of an identity provider: what it is asked, what is kept, what a broker gets, what is said when it fails."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

import anyio
import anyio.lowlevel
import pytest
import trustme
from fake_provider import FakeProvider, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from loopback_http import Answer
from told import everything_told, take

from krafka.auth import OAuthBearer, OidcClientCredentials, OidcJwtBearer, SignedAssertion, Token
from krafka.auth._oauthbearer import bearer_steps
from krafka.auth._secret import Secret
from krafka.auth._token_endpoint import MAX_ANSWER, _token_in, expiry_of
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, KafkaError, ProtocolError
from krafka.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

HOST = "broker.example"
URL = "https://provider.example/token"
SECRET = "s3cr3t/with+odd:signs%and blanks"
AT_ONCE = RetryPolicy(initial_backoff=0.0, max_backoff=0.0)


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    with FakeProvider() as found:
        yield found


def client(provider: FakeProvider, **options: Any) -> OidcClientCredentials:
    return OidcClientCredentials(provider.token_url, "orders", SECRET, **{"retry": AT_ONCE, **options})


async def first_bytes(auth: OAuthBearer) -> bytes:
    (sent,) = take(await auth.begin(HOST), [b""])
    return bytes(sent)


async def failure(auth: OAuthBearer) -> KafkaError:
    with pytest.raises(KafkaError) as caught:
        await auth.begin(HOST)
    assert SECRET not in everything_told(caught.value)
    assert quote_plus(SECRET) not in everything_told(caught.value)
    return caught.value


# -- what the provider is asked --------------------------------------------------------------------------------------


async def test_the_client_says_who_it_is_in_the_header(provider: FakeProvider) -> None:
    auth = client(provider, scope="produce audit", audience="kafka", parameters={"resource": "urn:orders"})
    sent = await first_bytes(auth)
    assert sent == b"n,,\x01auth=Bearer " + provider.tokens[0].encode() + b"\x01\x01"
    (asked,) = provider.asked
    assert asked.form == {
        "grant_type": "client_credentials",
        "scope": "produce audit",
        "audience": "kafka",
        "resource": "urn:orders",
    }
    scheme, pair = asked.headers["authorization"].split()
    assert scheme == "Basic"
    assert base64.b64decode(pair).decode() == f"orders:{quote_plus(SECRET)}"  # as RFC 6749, 2.3.1 has it


async def test_the_client_says_who_it_is_in_the_form(provider: FakeProvider) -> None:
    await first_bytes(client(provider, secret_in="form"))
    (asked,) = provider.asked
    assert asked.form == {"grant_type": "client_credentials", "client_id": "orders", "client_secret": SECRET}
    assert "authorization" not in asked.headers


async def test_the_client_says_who_it_is_by_an_assertion(provider: FakeProvider, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a.b.c\n")
    auth = OidcClientCredentials(provider.token_url, "orders", client_assertion=tmp_path / "token")
    await first_bytes(auth)
    assert provider.asked[0].form == {
        "grant_type": "client_credentials",
        "client_id": "orders",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "a.b.c",
    }


async def test_extensions_go_to_the_broker_and_not_to_the_provider(provider: FakeProvider) -> None:
    sent = await first_bytes(client(provider, extensions={"logicalCluster": "lkc-1"}))
    assert sent.endswith(b"\x01logicalCluster=lkc-1\x01\x01")
    assert "logicalCluster" not in provider.asked[0].form


async def test_it_speaks_tls_with_an_authority_of_ones_own() -> None:
    authority = trustme.CA()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with FakeProvider(server) as provider:
        await first_bytes(client(provider, tls=trusting))
        error = await failure(client(provider))
    assert isinstance(error, AuthenticationError)
    assert "certificate" in str(error).lower()
    assert "tls=" in str(error)


# -- what is kept ----------------------------------------------------------------------------------------------------


async def test_a_token_is_asked_for_once_and_serves_until_it_is_old(provider: FakeProvider) -> None:
    auth = client(provider)
    now = time.time()
    auth._tokens._clock = lambda: now
    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(first_bytes, auth)
    assert len(provider.tokens) == 1
    now += 200
    assert provider.tokens[0].encode() in await first_bytes(auth)
    now += 60  # of 300 seconds
    assert len(provider.tokens) == 1
    assert provider.tokens[0].encode() not in await first_bytes(auth)
    assert len(provider.tokens) == 2


async def test_a_token_that_a_broker_refuses_is_not_used_again(provider: FakeProvider) -> None:
    auth = client(provider)
    with pytest.raises(AuthenticationError, match="invalid_token"):
        take(await auth.begin(HOST), [b'{"status":"invalid_token"}', b""])
    await first_bytes(auth)
    assert len(provider.tokens) == 2


@pytest.mark.parametrize(
    ("lifetime", "more", "end"),
    [
        (300, {}, 300),
        (300, {"expires_in": 100}, 100),
        (300, {"expires_in": "100"}, 100),
        (100, {"expires_in": 300}, 100),
        (300, {"expires_in": None}, 300),
        (300, {"access_token": "opaque", "expires_in": 50}, 50),
        (300, {"access_token": "opaque", "expires_in": None}, None),
        (300, {"access_token": "not.a.jwt", "expires_in": None}, None),
    ],
)
async def test_a_token_ends_when_the_provider_or_the_token_says(
    lifetime: int, more: dict[str, Any], end: float | None, provider: FakeProvider
) -> None:
    provider.lifetime = lifetime
    provider.more = more
    token = await client(provider)._ask()
    if end is None:
        assert token.expires_at is None
    else:
        assert token.expires_at == pytest.approx(time.time() + end, abs=5)


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_a_refusal_is_final_and_in_the_providers_own_words(provider: FakeProvider) -> None:
    provider.faults.append(refusal("invalid_client", f"the secret {SECRET} is wrong", 401))
    error = await failure(client(provider))
    assert isinstance(error, AuthenticationError)
    assert str(error) == (
        f"OAUTHBEARER: OidcClientCredentials('{provider.token_url}', client_id='orders') gave no token: "
        f"{provider.token_url} answered with HTTP status 401: invalid_client: the secret <hidden> is wrong; "
        "check client_id and the secret or the client's assertion"
    )
    assert len(provider.asked) == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (refusal("invalid_scope", "no such scope"), "400: invalid_scope: no such scope; check scope"),
        (refusal("unauthorized_client"), "unauthorized_client; the provider has to allow"),
        (
            Answer(404, "<html>Not found</html>", "text/html"),
            "404: '<html>Not found</html>'; is it the address",
        ),
        (Answer(403, b"\xff\xfe"), "403"),
        (
            Answer(302, headers=(("Location", "https://login.example/"),)),
            "302, it refers to https://login.example/",
        ),
        (
            Answer(200, "<html>Log in</html>", "text/html"),
            "without a token that can be used: it is no JSON object",
        ),
        (Answer(200, "[]"), "it is no JSON object"),
        (Answer(200, "{}"), "it has no access_token but nothing"),
        (Answer(200, '{"accessToken": "abc"}'), "it has no access_token but 'accessToken'"),
        (
            Answer(200, '{"access_token": "abc", "token_type": "mac"}'),
            "its token_type is 'mac', not 'Bearer'",
        ),
        (
            Answer(200, '{"access_token": "abc", "expires_in": -1}'),
            "its expires_in is no number of seconds above 0",
        ),
        (Answer(200, '{"access_token": "abc", "expires_in": "soon"}'), "but 'soon'"),
        (Answer(200, '{"access_token": "a b c"}'), "its value is not shown"),
        (Answer(200, b"x" * (MAX_ANSWER + 1)), f"more than {MAX_ANSWER} bytes"),
    ],
    ids=str,
)
async def test_what_does_not_help_to_ask_again_is_final(
    answer: Answer, words: str, provider: FakeProvider
) -> None:
    provider.faults.append(answer)
    error = await failure(client(provider))
    assert isinstance(error, AuthenticationError)
    assert words in str(error)
    assert len(provider.asked) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_fault_that_passes_is_waited_out(status: int, provider: FakeProvider) -> None:
    provider.faults.extend([Answer(status, "busy", "text/plain")] * 3)
    await first_bytes(client(provider))
    assert len(provider.asked) == 4
    provider.faults.extend([Answer(status, "busy", "text/plain")] * 4)
    error = await failure(client(provider))
    assert isinstance(error, ConnectionFailedError)
    assert f"HTTP status {status}: 'busy'" in str(error)
    assert len(provider.asked) == 8


async def test_a_provider_that_is_not_there_may_come_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    auth = OidcClientCredentials(f"http://127.0.0.1:{port}/token", "orders", SECRET, retry=AT_ONCE)
    error = await failure(auth)
    assert isinstance(error, ConnectionFailedError)
    assert f"http://127.0.0.1:{port}/token could not be asked for a token" in str(error)
    assert "ConnectError" in str(error)


async def test_a_provider_that_is_late_has_its_deadlines(provider: FakeProvider) -> None:
    hold = threading.Event()
    try:
        provider.faults.extend([Answer(hold=hold)] * 3)
        auth = client(provider, request_timeout=0.3, retry=RetryPolicy(max_retries=0))
        error = await failure(auth)
        assert isinstance(error, ConnectionFailedError)
        assert "no answer within request_timeout (0.3 s)" in str(error)
        error = await failure(client(provider, timeout=0.3))
        assert "no token within timeout (0.3 s)" in str(error)
    finally:
        hold.set()


async def test_a_waiting_caller_can_be_cancelled_and_the_next_asks_anew(provider: FakeProvider) -> None:
    hold = threading.Event()
    provider.faults.append(Answer(hold=hold))
    auth = client(provider)
    try:
        with anyio.move_on_after(0.3) as scope:
            await auth.begin(HOST)
        assert scope.cancelled_caught
        hold.set()
        await first_bytes(auth)
    finally:
        hold.set()


async def test_without_tls_it_warns_once_unless_this_machine_is_asked(
    provider: FakeProvider, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await first_bytes(client(provider))
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    elsewhere = OidcClientCredentials(
        "http://provider.invalid/token", "orders", SECRET, retry=RetryPolicy(max_retries=0), timeout=5
    )
    for _ in range(2):
        await failure(elsewhere)
    (warning,) = [record for record in caplog.records if record.name.startswith("krafka")]
    assert "http://provider.invalid/token is asked for tokens without TLS" in warning.getMessage()


# -- any answer ------------------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    JSON
    | st.fixed_dictionaries(
        {}, optional={"access_token": JSON, "token_type": JSON | st.just("Bearer"), "expires_in": JSON}
    )
)
def test_any_answer_gives_a_token_or_says_what_is_wrong(said: Any) -> None:
    found = _token_in(said, {})
    if isinstance(found, str):
        assert found
        return
    assert found.value == said["access_token"]
    assert found.expires_at is None or found.expires_at > time.time()


@settings(deadline=None)
@given(
    st.text(max_size=60)
    | st.binary(max_size=60).map(lambda it: f"e30.{base64.urlsafe_b64encode(it).decode()}.x")
)
def test_any_text_has_an_end_or_none(text: str) -> None:
    end = expiry_of(Secret(text))
    assert end is None or end > 0


@settings(deadline=None)
@given(answers=st.lists(st.binary(max_size=200), min_size=2, max_size=2))
def test_any_answer_of_a_broker_is_taken_or_refused_in_our_words(answers: list[bytes]) -> None:
    auth = OidcClientCredentials(URL, "orders", SECRET)
    steps = bearer_steps(Token("a-token-of-some-length"), auth._tokens)
    try:
        take(steps, answers)
    except (AuthenticationError, ProtocolError) as error:
        told = everything_told(error)
    else:
        told = ""
    assert bool(told) == bool(answers[0])
    assert "a-token-of-some-length" not in told


# -- assertions ------------------------------------------------------------------------------------------------------


def pem(key: Any, password: str | None = None) -> str:
    made: bytes = key.as_bytes("PEM", True, password)
    return made.decode()


KEYS_BY_ALGORITHM = {
    "RS256": RSAKey.generate_key(2048),
    "PS384": RSAKey.generate_key(2048),
    "ES256": ECKey.generate_key("P-256"),
    "ES512": ECKey.generate_key("P-521"),
    "Ed25519": OKPKey.generate_key("Ed25519"),
}
CLAIMS = {"issuer": "orders", "subject": "orders", "audience": "https://provider.example"}


@pytest.mark.parametrize("algorithm", KEYS_BY_ALGORITHM)
async def test_an_assertion_is_signed_anew_for_each_token(
    algorithm: str, provider: FakeProvider, tmp_path: Path
) -> None:
    key = KEYS_BY_ALGORITHM[algorithm]
    file = tmp_path / "key.pem"
    file.write_text(pem(key))
    signed = SignedAssertion(
        file, **CLAIMS, algorithm=algorithm, key_id="k1", lifetime=60, claims={"tenant": "north"}
    )
    auth = OidcJwtBearer(provider.token_url, signed, "produce", client_id="orders")
    await first_bytes(auth)
    auth._tokens._token = None
    await first_bytes(auth)
    seen = []
    for asked in provider.asked:
        form = asked.form
        token = jwt.decode(form.pop("assertion"), key, algorithms=[algorithm])
        assert form == {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "scope": "produce",
            "client_id": "orders",
        }
        assert token.header == {"typ": "JWT", "alg": algorithm, "kid": "k1"}
        claims = dict(token.claims)
        seen.append(claims.pop("jti"))
        assert claims.pop("exp") - claims["iat"] == 60
        assert claims.pop("iat") == pytest.approx(time.time(), abs=30)
        assert claims == {"iss": "orders", "sub": "orders", "aud": CLAIMS["audience"], "tenant": "north"}
    assert len(set(seen)) == 2


async def test_a_key_may_be_text_and_encrypted(provider: FakeProvider) -> None:
    text = pem(KEYS_BY_ALGORITHM["RS256"], "pass phrase")
    signed = SignedAssertion(text, **CLAIMS, private_key_password="pass phrase")
    await first_bytes(OidcJwtBearer(provider.token_url, signed))
    wrong = SignedAssertion(text, **CLAIMS, private_key_password="another phrase")
    error = await failure(OidcJwtBearer(provider.token_url, wrong))
    assert isinstance(error, AuthenticationError)
    assert "the private key given as PEM cannot sign with RS256" in str(error)
    told = everything_told(error) + repr(wrong) + repr(vars(wrong))
    assert text.splitlines()[3] not in told
    assert "phrase" not in told


@pytest.mark.parametrize("damage", ["gone", "other kind", "no key"])
async def test_a_key_that_cannot_sign_is_named(damage: str, provider: FakeProvider, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    if damage != "gone":
        file.write_text(pem(KEYS_BY_ALGORITHM["ES256"]) if damage == "other kind" else "nothing of the kind")
    error = await failure(OidcJwtBearer(provider.token_url, SignedAssertion(str(file), **CLAIMS)))
    assert isinstance(error, AuthenticationError)
    assert str(file) in str(error)
    assert provider.asked == []


async def test_an_assertion_comes_from_a_file_that_changes(provider: FakeProvider, tmp_path: Path) -> None:
    file = tmp_path / "assertion"
    auth = OidcJwtBearer(provider.token_url, file)
    error = await failure(auth)
    assert isinstance(error, AuthenticationError)
    assert str(file) in str(error)
    for text in ("one.one.one", "two.two.two\n"):
        file.write_text(text)
        auth._tokens._token = None
        await first_bytes(auth)
        assert provider.asked[-1].form["assertion"] == text.strip()
    file.write_text(SECRET)
    auth._tokens._token = None
    assert f"{str(file)!r} has no JSON Web Token" in str(await failure(auth))


async def test_an_assertion_comes_from_a_function_of_either_kind(provider: FakeProvider) -> None:
    async def asynchronous() -> str:
        await anyio.lowlevel.checkpoint()
        return "async.async.async"

    def plain() -> str:
        assert threading.current_thread() is not threading.main_thread()
        return "plain.plain.plain"

    for function in (asynchronous, plain):
        await first_bytes(OidcJwtBearer(provider.token_url, function))
    assert [asked.form["assertion"] for asked in provider.asked] == ["async.async.async", "plain.plain.plain"]

    def broken() -> str:
        raise OSError("the vault is shut")

    error = await failure(OidcJwtBearer(provider.token_url, broken))
    assert isinstance(error, ConnectionFailedError)
    assert "broken raised OSError instead of returning an assertion: the vault is shut" in str(error)
    error = await failure(OidcJwtBearer(provider.token_url, lambda: 7))  # type: ignore[arg-type, return-value]
    assert "returned int where an assertion, a str, should be" in str(error)


async def test_an_assertion_that_is_refused_is_not_shown(provider: FakeProvider) -> None:
    provider.faults.append(refusal("invalid_grant", "the assertion aaa.bbb.ccc has expired"))
    error = await failure(OidcJwtBearer(provider.token_url, lambda: "aaa.bbb.ccc"))
    assert "invalid_grant: the assertion <hidden> has expired; check the assertion" in str(error)
    assert "aaa.bbb.ccc" not in everything_told(error)


# -- what it is made of ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("provider.example", "orders", SECRET),
            "token_url must be like 'https://login.example/oauth2/token'",
        ),
        (("ftp://provider.example", "orders", SECRET), "token_url must be like"),
        (
            (f"https://orders:{quote_plus(SECRET)}@provider.example/", "orders", SECRET),
            "token_url has a user in it",
        ),
        ((7, "orders", SECRET), "token_url is not an address"),
        ((URL, "", SECRET), "client_id must not be empty"),
        ((URL, "orders"), "give one of client_secret and client_assertion"),
        ((URL, "orders", ""), "client_secret must not be empty"),
        ((URL, "orders", SECRET.encode()), "client_secret must be str, not bytes"),
        ((URL, "orders", SECRET, 7), "scope must be str, not int"),
        ((URL, "orders", SECRET, None, ""), "audience must not be empty"),
    ],
)
def test_a_wrong_argument_is_named_and_no_secret_shown(arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OidcClientCredentials(*arguments)
    assert said in str(caught.value)
    assert caught.value.option == "auth"
    assert SECRET not in everything_told(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"secret_in": "cookie"}, "secret_in must be 'header' or 'form', got 'cookie'"),
        ({"client_assertion": lambda: "a.b.c"}, "give one of client_secret and client_assertion"),
        ({"parameters": {"scope": "x"}, "scope": "y"}, "parameters must not have 'scope'"),
        ({"parameters": {"x": 1}}, "parameters['x'] must be str, not int"),
        ({"extensions": {"auth": "x"}}, "extension"),
        ({"tls": True}, "tls must be an ssl.SSLContext, got bool"),
        ({"timeout": 0}, "timeout must be above 0 seconds and finite, got 0"),
        ({"request_timeout": float("inf")}, "request_timeout must be above 0 seconds"),
        ({"retry": 3}, "retry must be a RetryPolicy, got int"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        OidcClientCredentials(URL, "orders", SECRET, **options)
    assert said in str(caught.value)
    assert SECRET not in everything_told(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"algorithm": "HS256"}, "algorithm must be one of RS256"),
        ({"lifetime": 0}, "lifetime must be 1 to 86400 seconds, got 0"),
        ({"issuer": ""}, "issuer must not be empty"),
        ({"key_id": ""}, "key_id must not be empty"),
        ({"private_key_password": ""}, "private_key_password must not be empty"),
    ],
)
def test_a_wrong_argument_of_an_assertion_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        SignedAssertion(pem(KEYS_BY_ALGORITHM["ES256"]), **{**CLAIMS, **options})
    assert said in str(caught.value)
    assert "PRIVATE KEY" not in everything_told(caught.value)


@pytest.mark.parametrize("wrong", ["aaa.bbb.ccc", b"aaa.bbb.ccc", 7, str])
def test_an_assertion_as_text_is_refused_and_not_shown(wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"assertion must be a SignedAssertion, a pathlib\.Path") as caught:
        OidcJwtBearer(URL, wrong)
    assert "aaa.bbb.ccc" not in everything_told(caught.value)


def test_it_shows_who_asks_whom() -> None:
    auth = OidcClientCredentials(URL, "orders", SECRET)
    assert repr(auth) == f"OidcClientCredentials('{URL}', client_id='orders')"
    assert SECRET not in repr(vars(auth))
    assert (auth.mechanism, auth.reveals_secret) == ("OAUTHBEARER", True)
    signed = SignedAssertion("/run/key.pem", **CLAIMS)
    assert repr(OidcJwtBearer(URL, signed)) == (
        f"OidcJwtBearer('{URL}', SignedAssertion('/run/key.pem', issuer='orders', subject='orders', "
        "algorithm='RS256'))"
    )


def test_it_shows_where_assertions_come_from() -> None:
    def vault() -> str:
        return "a.b.c"

    shown = repr(OidcJwtBearer(URL, vault))
    assert shown == f"OidcJwtBearer('{URL}', test_it_shows_where_assertions_come_from.<locals>.vault)"
    assert repr(OidcJwtBearer(URL, Path("/run/token"))) == f"OidcJwtBearer('{URL}', {Path('/run/token')!r})"


@pytest.mark.parametrize("package", ["httpx2", "joserfc"])
def test_without_the_extra_the_error_says_how_to_install_it(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        f"krafka.auth.{'_oidc' if package == 'httpx2' else '_assertion'}.find_spec",
        lambda name: None if name == package else object(),
    )
    with pytest.raises(
        ModuleNotFoundError, match=rf"needs the package '{package}'.*pip install 'krafka\[oauth\]'"
    ):
        if package == "httpx2":
            OidcClientCredentials(URL, "orders", SECRET)
        else:
            SignedAssertion("/run/key.pem", **CLAIMS)
