"""GSSAPI's steps with a library of the test's own, on any machine: what it asks of it, sends, and refuses."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import take

from krafka.auth import Gssapi
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError, ProtocolError

pytestmark = pytest.mark.anyio

HOST = "broker.example"
MUTUAL, INTEGRITY, SEQUENCE = 2, 32, 8
NO_LAYER = b"wrapped:\x01\x00\x00\x00"


class FakeError(Exception):
    """GSSAPI's error: a number of its own, and one of Kerberos."""

    def __init__(self, words: str, min_code: int = 0) -> None:
        super().__init__(f"Major (851968): Unspecified GSS failure, Minor ({min_code}): {words}")
        self.min_code = min_code


class InvalidTokenError(FakeError):
    """Bytes that are no token."""


class BadMICError(FakeError):
    """Bytes that somebody changed."""


class Flags(int):
    def __contains__(self, flag: int) -> bool:
        return bool(self & flag)


class FakeLibrary(ModuleType):
    """As much of python-gssapi as a client needs; `asked` is what was asked of it, in order."""

    def __init__(self) -> None:
        super().__init__("gssapi")
        self.__spec__ = ModuleSpec("gssapi", None)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fails: Exception | None = None
        self.rounds = 1
        self.flags = Flags(MUTUAL)
        self.exceptions = SimpleNamespace(
            GSSError=FakeError, InvalidTokenError=InvalidTokenError, BadMICError=BadMICError
        )
        self.RequirementFlag = SimpleNamespace(
            mutual_authentication=MUTUAL, integrity=INTEGRITY, out_of_sequence_detection=SEQUENCE
        )
        self.NameType = SimpleNamespace(kerberos_principal="principal", hostbased_service="service")
        self.MechType = SimpleNamespace(kerberos="krb5")

    def Name(self, text: str, kind: str) -> str:  # noqa: N802 - the name it has there
        return f"{kind} {text}"

    def Credentials(self, **asked: Any) -> str:  # noqa: N802 - the same
        self.asked.append(("Credentials", asked))
        return "credentials"

    def SecurityContext(self, **asked: Any) -> FakeContext:  # noqa: N802 - the same
        self.asked.append(("SecurityContext", asked))
        return FakeContext(self)


class FakeContext:
    """A context that is complete after some answers which say "go on"."""

    def __init__(self, library: FakeLibrary) -> None:
        self.library = library
        self.left = library.rounds
        self.actual_flags = library.flags

    @property
    def complete(self) -> bool:
        return self.left == 0

    def step(self, token: bytes | None = None) -> bytes | None:
        if token is None:
            if self.library.fails is not None:
                raise self.library.fails
            return b"ticket"
        if token != b"go on":
            raise InvalidTokenError("Invalid token was supplied")
        self.left -= 1
        return b"more" if self.left else None

    def unwrap(self, message: bytes) -> Any:
        if not message.startswith(b"wrapped:"):
            raise BadMICError("A token had an invalid signature")
        return SimpleNamespace(message=message.removeprefix(b"wrapped:"))

    def wrap(self, message: bytes, encrypted: bool) -> Any:
        assert not encrypted
        return SimpleNamespace(message=b"wrapped:" + message)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    made = FakeLibrary()
    monkeypatch.setitem(sys.modules, "gssapi", made)
    return made


async def test_it_proves_both_sides_and_asks_for_no_layer(library: FakeLibrary) -> None:
    assert take(await Gssapi().begin(HOST), [b"go on", NO_LAYER, b""]) == [b"ticket", b"", NO_LAYER]
    ((what, asked),) = library.asked
    assert what == "SecurityContext"
    assert asked == {
        "name": "service kafka@broker.example",
        "creds": None,
        "usage": "initiate",
        "mech": "krb5",
        "flags": MUTUAL | INTEGRITY | SEQUENCE,
    }


async def test_all_that_the_library_wants_sent_is_sent(library: FakeLibrary) -> None:
    library.rounds = 3
    assert take(await Gssapi().begin(HOST), [b"go on"] * 3 + [NO_LAYER, b""]) == [
        b"ticket",
        b"more",
        b"more",
        b"",
        NO_LAYER,
    ]
    library.rounds = 100
    with pytest.raises(ProtocolError, match="goes on after 8 messages"):
        take(await Gssapi().begin(HOST), [b"go on"] * 100)


@pytest.mark.parametrize(
    ("options", "name", "store"),
    [
        ({"principal": "alice@REALM"}, "principal alice@REALM", {}),
        ({"keytab": "/alice.keytab", "credential_cache": "FILE:/c"}, None, {"ccache": "FILE:/c"}),
        ({"principal": "alice", "keytab": "/alice.keytab"}, "principal alice", {"ccache": "MEMORY:"}),
        ({"credential_cache": "DIR:/c"}, None, {"ccache": "DIR:/c"}),
    ],
)
async def test_whose_tickets_are_used(
    options: dict[str, Any], name: str | None, store: dict[str, str], library: FakeLibrary
) -> None:
    await Gssapi(**options).begin(HOST)
    what, asked = library.asked[0]
    assert (what, asked["usage"], asked["name"], asked["mechs"]) == (
        "Credentials",
        "initiate",
        name,
        ["krb5"],
    )
    found = asked["store"] or {}
    assert found.get("client_keytab") == options.get("keytab")
    assert found.get("ccache", "").startswith(store.get("ccache", ""))
    assert library.asked[1][1]["creds"] == "credentials"


async def test_two_objects_with_a_keytab_do_not_share_tickets(library: FakeLibrary) -> None:
    for _ in range(2):
        await Gssapi(keytab="/alice.keytab").begin(HOST)
    caches = [asked["store"]["ccache"] for what, asked in library.asked if what == "Credentials"]
    assert len(set(caches)) == 2


@pytest.mark.parametrize(
    ("code", "kind", "hint"),
    [
        (-1765328228, ConnectionFailedError, ""),
        (-1765328355, ConnectionFailedError, ""),
        (-1765328377, AuthenticationError, "the broker's principal has to be kafka/broker.example"),
        (-1765328378, AuthenticationError, "check principal"),
        (-1765328347, AuthenticationError, "set the clock"),
        (-1765328189, AuthenticationError, "check keytab and principal"),
        (-1765328243, AuthenticationError, "run kinit, or give principal and keytab"),
        (22, AuthenticationError, ""),
    ],
)
@pytest.mark.parametrize("unsigned", [False, True])
async def test_what_kerberos_says_is_told_with_what_to_do(
    code: int, kind: type[Exception], hint: str, unsigned: bool, library: FakeLibrary
) -> None:
    library.fails = FakeError("Kerberos' own words", code % (1 << 32) if unsigned else code)
    with pytest.raises(kind) as caught:
        await Gssapi().begin(HOST)
    said = (
        "GSSAPI: no ticket for kafka/broker.example (Gssapi('kafka', principal=None, keytab=None)): "
        "Kerberos' own words"
    )
    assert str(caught.value).startswith(said)
    assert hint in str(caught.value).removeprefix(said)
    assert bool(hint) == (str(caught.value) != said)
    assert caught.value.__cause__ is library.fails


async def test_what_gssapi_itself_says_is_told_where_kerberos_says_nothing(library: FakeLibrary) -> None:
    library.fails = FakeError("")
    with pytest.raises(AuthenticationError, match="Unspecified GSS failure"):
        await Gssapi().begin(HOST)


async def test_a_broker_that_does_not_prove_who_it_is_is_refused(library: FakeLibrary) -> None:
    library.flags = Flags(INTEGRITY)
    with pytest.raises(AuthenticationError, match=r"broker\.example did not prove who it is"):
        take(await Gssapi().begin(HOST), [b"go on", NO_LAYER])


@pytest.mark.parametrize(
    ("answers", "kind", "said"),
    [
        ([b"nonsense"], ProtocolError, "was not accepted: Invalid token was supplied"),
        ([b"go on", b"changed"], ProtocolError, "was not accepted: A token had an invalid signature"),
        ([b"go on", b"wrapped:\x01"], ProtocolError, "offers security layers in 1 bytes, not 4"),
        ([b"go on", b"wrapped:"], ProtocolError, "offers security layers in 0 bytes, not 4"),
        ([b"go on", b"wrapped:\x06\xff\xff\xff"], AuthenticationError, "insists on protecting"),
    ],
)
async def test_an_answer_that_is_not_right_is_refused(
    answers: list[bytes], kind: type[Exception], said: str, library: FakeLibrary
) -> None:
    with pytest.raises(kind, match=said):
        take(await Gssapi().begin(HOST), answers)


@settings(deadline=None)
@given(
    answers=st.lists(
        st.binary(max_size=20) | st.just(b"go on") | st.binary(max_size=6).map(b"wrapped:".__add__),
        min_size=12,
        max_size=12,
    )
)
def test_any_answers_are_taken_or_refused_in_our_words(answers: list[bytes]) -> None:
    made = FakeLibrary()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "gssapi", made)
        auth = Gssapi()
        context, token = auth._start(HOST)
        try:
            sent = take(auth._steps(context, token, HOST), answers)
        except (AuthenticationError, ProtocolError):
            return
    assert answers[0] == b"go on"
    assert answers[1][8:9] in {bytes([bits]) for bits in range(1, 256, 2)}
    assert sent[-1] == NO_LAYER


@pytest.mark.parametrize(
    ("arguments", "options", "said"),
    [
        (("",), {}, "service_name must not be empty"),
        ((7,), {}, "service_name must be str, not int"),
        (("kafka/host@REALM",), {}, "the first part of the brokers' principals only"),
        ((), {"principal": ""}, "principal must not be empty"),
        ((), {"keytab": 7}, "keytab must be str, not int"),
        ((), {"credential_cache": ""}, "credential_cache must not be empty"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: tuple[Any, ...], options: dict[str, Any], said: str, library: FakeLibrary
) -> None:
    with pytest.raises(ConfigError, match=said):
        Gssapi(*arguments, **options)


def test_it_shows_who_logs_in(library: FakeLibrary) -> None:
    auth = Gssapi(principal="alice", keytab="/alice.keytab")
    assert repr(auth) == "Gssapi('kafka', principal='alice', keytab='/alice.keytab')"
    assert (auth.mechanism, auth.reveals_secret) == ("GSSAPI", False)


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krafka.auth._gssapi.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'krafka\[gssapi\]'.*libkrb5-dev"):
        Gssapi()
