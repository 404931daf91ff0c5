"""Each mechanism by itself: the bytes of the standards, what it refuses, and that no answer surprises it."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pytest
from conversations import PASSWORD, TOKEN, ScramServer, begin, every_mechanism, play
from hypothesis import given
from hypothesis import strategies as st

from krafka.auth import OAuthBearer, Plain, ScramSha256, ScramSha512, Token
from krafka.auth._base import Work
from krafka.auth._scram import LONGEST_MESSAGE, MOST_ITERATIONS
from krafka.errors import AuthenticationError, ConfigError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from krafka.auth import Auth
    from krafka.auth._base import Steps


def test_plain_is_user_and_password_behind_nul_characters() -> None:
    assert play(begin(Plain("tim", "tanstaaftanstaaf")), lambda message: b"") == [b"\0tim\0tanstaaftanstaaf"]
    assert play(begin(Plain("zoë", "pä\u00aa")), lambda message: b"") == ["\0zoë\0pä\u00aa".encode()]


def test_the_example_of_rfc_7677() -> None:
    steps = ScramSha256("user", "pencil")._steps("rOprNGfwEbeRWgbNEkqO")
    assert next(steps) == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    work = steps.send(
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    )
    assert isinstance(work, Work)
    assert steps.send(work.run()) == (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
        b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    with pytest.raises(StopIteration):
        steps.send(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")


class ScramSha1(ScramSha256):
    """For the example of RFC 5802; Kafka does not offer it."""

    _hash = "sha1"


def test_the_example_of_rfc_5802() -> None:
    steps = ScramSha1("user", "pencil")._steps("fyko+d2lbbFgONRv9qkxdawL")
    assert next(steps) == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    work = steps.send(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
    assert isinstance(work, Work)
    assert steps.send(work.run()) == (
        b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    )
    with pytest.raises(StopIteration):
        steps.send(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")


@pytest.mark.parametrize(("kind", "hash_name"), [(ScramSha256, "sha256"), (ScramSha512, "sha512")])
def test_scram_convinces_and_is_convinced(kind: type[ScramSha256], hash_name: str) -> None:
    sent = play(begin(kind("a=b,c", PASSWORD)), ScramServer(hash_name))
    assert re.fullmatch(rb"n,,n=a=3Db=2Cc,r=[A-Za-z0-9_-]{32}", sent[0])
    assert len(sent) == 2


def test_each_exchange_has_a_nonce_of_its_own() -> None:
    auth = ScramSha256("user", PASSWORD)
    assert len({play(begin(auth), ScramServer())[0] for _ in range(5)}) == 5


def test_a_delegation_token_says_what_it_is() -> None:
    sent = play(begin(ScramSha256("id", PASSWORD, delegation_token=True)), ScramServer())
    assert sent[0].startswith(b"n,,n=id,r=")
    assert sent[0].endswith(b",tokenauth=true")


def works(auth: Auth, server: Callable[[bytes], bytes]) -> int:
    """How often the mechanism had something computed."""
    counted = 0
    steps = begin(auth)
    outcome: Any = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration:
            return counted
        if isinstance(step, Work):
            counted += 1
            outcome = step.run()
        else:
            outcome = server(step)


def test_the_salted_password_is_computed_once_for_a_salt_and_a_count() -> None:
    auth = ScramSha256("user", PASSWORD)
    other_salt = b"another-salt"
    assert works(auth, ScramServer()) == 1
    assert works(auth, ScramServer()) == 0
    assert works(auth, ScramServer(salt=other_salt)) == 1
    assert works(auth, ScramServer(salt=other_salt, iterations=5000)) == 1
    assert works(auth, ScramServer(salt=other_salt, iterations=5000)) == 0


@pytest.mark.parametrize("iterations", [0, 1, 4095, MOST_ITERATIONS + 1, 9_999_999_999])
def test_a_number_of_iterations_out_of_bounds_is_refused_before_anything_is_computed(iterations: int) -> None:
    server = ScramServer()

    def answer(message: bytes) -> bytes:
        return re.sub(rb"i=\d+", b"i=%d" % iterations, server(message))

    steps = begin(ScramSha256("user", PASSWORD))
    first = answer(next(steps))  # type: ignore[arg-type]
    with pytest.raises(AuthenticationError, match=rf"asks for {iterations} iterations, and 4096 to 1000000"):
        steps.send(first)


def changed(pattern: bytes, replacement: bytes) -> Callable[[bytes], bytes]:
    return lambda message: re.sub(pattern, replacement, message)


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        (changed(rb"^r=.{32}", b"r=" + b"x" * 32), AuthenticationError, "nonce does not go on"),
        (changed(rb"3rfcNHYJY1ZVvWVs7j", b""), AuthenticationError, "nonce does not go on"),
        (changed(rb"^r=", b"m=ext,r="), ProtocolError, "extension"),
        (changed(rb"s=[^,]+", b"s=!"), ProtocolError, "first message is malformed"),
        (changed(rb"s=[^,]+", b"s=abc"), ProtocolError, "salt is not base64"),
        (changed(rb"i=4096", b"i=-1"), ProtocolError, "first message is malformed"),
        (changed(rb"^r=.*", b"\xff"), ProtocolError, "first message is not UTF-8"),
        (changed(rb"^r=.*", b"r" * (LONGEST_MESSAGE + 1)), ProtocolError, "has 4097 bytes"),
        (changed(rb"^v=.*", b"e=other-error"), AuthenticationError, "refused user 'user': other-error"),
        (changed(rb"^v=.*", b"v=AAAA"), AuthenticationError, "signature is wrong"),
        (changed(rb"^v=.*", b""), ProtocolError, "final message is malformed"),
        (changed(rb"^v=.*", b"v=="), ProtocolError, "signature is not base64"),
    ],
)
def test_scram_refuses(change: Callable[[bytes], bytes], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        play(begin(ScramSha256("user", PASSWORD)), ScramServer(change=change))


def test_a_server_that_does_not_know_the_password_is_not_believed() -> None:
    server = ScramServer(password="another")

    def forge(message: bytes) -> bytes:
        answer = server(message)
        return b"v=" + base64.b64encode(bytes(32)) if answer.startswith(b"e=") else answer

    with pytest.raises(AuthenticationError, match="not the broker it claims to be"):
        play(begin(ScramSha256("user", PASSWORD)), forge)


def test_a_bearer_token_and_its_extensions() -> None:
    token = Token(TOKEN, extensions={"logicalCluster": "lkc-1", "identityPoolId": "pool-2"})
    assert play(begin(OAuthBearer(lambda: token)), lambda message: b"") == [
        b"n,,\x01auth=Bearer ey.secret-token.x\x01logicalCluster=lkc-1\x01identityPoolId=pool-2\x01\x01"
    ]
    assert play(begin(OAuthBearer(lambda: TOKEN)), lambda message: b"") == [
        b"n,,\x01auth=Bearer ey.secret-token.x\x01\x01"
    ]


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        (
            b'{"status":"invalid_token","scope":"kafka","openid-configuration":null}',
            "status invalid_token, scope kafka",
        ),
        (b"no JSON", "no JSON"),
        (b"[" * 100_000, r"\["),
        (b"\xff", "\ufffd"),
    ],
)
def test_a_refused_token_is_acknowledged_and_told_of(refusal: bytes, words: str) -> None:
    sent: list[bytes] = []

    def server(message: bytes) -> bytes:
        sent.append(message)
        return refusal if len(sent) == 1 else b""

    with pytest.raises(AuthenticationError, match=f"OAUTHBEARER: the broker refused the token: {words}"):
        play(begin(OAuthBearer(lambda: TOKEN)), server)
    assert sent[1:] == [b"\x01"]


def refused(steps: Steps, server: Callable[[bytes], bytes]) -> str:
    """What is said against the server; nothing if it is accepted. No other exception is caught."""
    try:
        play(steps, server)
    except (AuthenticationError, ProtocolError) as error:
        return str(error) or "without a word"
    return ""


@given(data=st.data())
def test_whatever_a_broker_answers_there_are_two_kinds_of_errors(data: st.DataObject) -> None:
    auth, make_server = data.draw(st.sampled_from(every_mechanism()))
    server = make_server()

    def mutated(message: bytes) -> bytes:
        answer = bytearray(server(message))
        for _ in range(data.draw(st.integers(0, 3))):
            at = data.draw(st.integers(0, len(answer)))
            answer[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=6))
        return bytes(answer)

    refusal = refused(begin(auth), mutated)
    assert PASSWORD not in refusal
    assert TOKEN not in refusal


@given(message=st.binary(max_size=300), which=st.integers(0, 3))
def test_noise_is_refused_or_ignored(message: bytes, which: int) -> None:
    auth, _ = every_mechanism()[which]
    assert refused(begin(auth), lambda _: message) or not isinstance(auth, ScramSha256 | ScramSha512)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Plain("", PASSWORD), r"Plain: username must not be empty, got '' \(str\)"),
        (lambda: Plain("u\0", PASSWORD), "NUL"),
        (lambda: Plain("u", ""), r"Plain: password must not be empty \(its value is not shown\)"),
        (lambda: Plain("u", f"{PASSWORD}\0"), "Plain: password must not contain the character NUL"),
        (lambda: Plain("u", PASSWORD.encode()), "Plain: password must be str, not bytes"),  # type: ignore[arg-type]
        (lambda: Plain(None, PASSWORD), "Plain: username must be str, not NoneType"),  # type: ignore[arg-type]
        (lambda: ScramSha512("u", "\ud800"), "ScramSha512: password must be valid Unicode"),
        (lambda: OAuthBearer(TOKEN), "must be a function that returns a token, not str"),  # type: ignore[arg-type]
        (lambda: OAuthBearer(Token), "must be a function that returns a token, not type"),
        (lambda: Token("with space"), r"Token: value must be a str of letters, .*got a str \(its value"),
        (lambda: Token("t\x01"), "Token: value"),
        (lambda: Token(b"t"), "got a bytes"),  # type: ignore[arg-type]
        (lambda: Token(TOKEN, extensions={"auth": "x"}), "not 'auth'"),
        (lambda: Token(TOKEN, extensions={"a1": "x"}), "of letters only"),
        (lambda: Token(TOKEN, extensions={"a": "x\x01"}), "printable"),
        (lambda: Token(TOKEN, expires_at="soon"), "seconds since 1970"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_sent_is_refused_where_it_is_given(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        make()
    assert caught.value.option == "auth"
    assert PASSWORD not in str(caught.value)
    assert TOKEN not in str(caught.value)
