"""GSSAPI with MIT Kerberos' own server, and a Kafka that asks for it; where the machine has them."""

from __future__ import annotations

import re
from itertools import count
from random import Random
from typing import TYPE_CHECKING, Any

import kdc
import pytest
from told import drive, take

from krafka.auth import Gssapi
from krafka.errors import AuthenticationError, ConnectionFailedError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REASON = kdc.missing()
pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(REASON is not None, reason=f"no Kerberos here: {REASON}"),
]
HOST = "127.0.0.1"
ALICE = f"alice@{kdc.REALM}"


@pytest.fixture(scope="module")
def realm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kdc.Kdc]:
    with kdc.running(tmp_path_factory.mktemp("kdc")) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in running.environment.items():
            patch.setenv(name, value)
        yield running


@pytest.fixture(scope="module")
def service(realm: kdc.Kdc) -> Path:
    return realm.keytab(kdc.SERVICE)


@pytest.fixture(scope="module")
def alice(realm: kdc.Kdc) -> Path:
    return realm.keytab(ALICE)


class Acceptor:
    """A broker's side of RFC 4752: `offer` are the layers it offers."""

    def __init__(self, keytab: Path, offer: bytes = b"\x01\x00\x00\x00") -> None:
        import gssapi

        name = gssapi.Name(kdc.SERVICE, gssapi.NameType.kerberos_principal)
        credentials = gssapi.Credentials(usage="accept", name=name, store={"keytab": str(keytab)})
        self.context = gssapi.SecurityContext(creds=credentials, usage="accept")
        self.offer = offer
        self.chosen: bytes | None = None

    def answer(self, message: bytes) -> bytes:
        if not self.context.complete:
            token: bytes | None = self.context.step(message)
            return token or b""
        if self.chosen is None and message:
            self.chosen = self.context.unwrap(message).message
            return b""
        wrapped: bytes = self.context.wrap(self.offer, False).message
        return wrapped


def talk(steps: Any, acceptor: Acceptor, change: Any = lambda number, answer: answer) -> list[bytes]:
    """What the client sends to an acceptor whose answers may be changed."""
    numbers = count(1)
    return drive(steps, lambda step: change(next(numbers), acceptor.answer(step)))


async def test_it_logs_in_with_a_keytab(alice: Path, service: Path) -> None:
    auth = Gssapi(principal=ALICE, keytab=alice)
    for _ in range(2):
        acceptor = Acceptor(service)
        sent = talk(await auth.begin(HOST), acceptor)
        assert acceptor.chosen == b"\x01\x00\x00\x00"
        assert str(acceptor.context.initiator_name) == ALICE
        assert [len(message) > 0 for message in sent] == [True, False, True]


async def test_it_logs_in_with_the_tickets_of_kinit(realm: kdc.Kdc, alice: Path, service: Path) -> None:
    cache = f"FILE:{alice.parent / 'kinit'}"
    realm.run("kinit", "-c", cache, "-k", "-t", str(alice), ALICE)
    acceptor = Acceptor(service)
    talk(await Gssapi(credential_cache=cache).begin(HOST), acceptor)
    assert str(acceptor.context.initiator_name) == ALICE


async def test_a_keytab_alone_is_enough(alice: Path, service: Path) -> None:
    acceptor = Acceptor(service)
    talk(await Gssapi(keytab=str(alice)).begin(HOST), acceptor)
    assert str(acceptor.context.initiator_name) == ALICE


# -- what goes wrong -------------------------------------------------------------------------------------------------


async def test_without_tickets_it_says_so() -> None:
    with pytest.raises(
        AuthenticationError, match=r"no ticket for kafka/127\.0\.0\.1.*; run kinit, or give principal"
    ):
        await Gssapi().begin(HOST)


async def test_a_keytab_without_the_principal_is_named(alice: Path) -> None:
    with pytest.raises(AuthenticationError, match="run kinit, or check keytab and principal") as caught:
        await Gssapi(principal=f"bob@{kdc.REALM}", keytab=alice).begin(HOST)
    assert f"principal='bob@{kdc.REALM}', keytab='{alice}'" in str(caught.value)


async def test_a_broker_that_kerberos_does_not_know_is_named(alice: Path) -> None:
    with pytest.raises(AuthenticationError, match=r"principal has to be kafka/elsewhere\.example"):
        await Gssapi(keytab=alice).begin("elsewhere.example")
    with pytest.raises(AuthenticationError, match=r"Server queue/127\.0\.0\.1@KRAFKA\.TEST not found"):
        await Gssapi("queue", keytab=alice).begin(HOST)


async def test_a_server_of_kerberos_that_is_away_may_come_back(
    realm: kdc.Kdc, alice: Path, tmp_path: Path
) -> None:
    away = tmp_path / "krb5.conf"
    text = realm.configuration.read_text()
    away.write_text(re.sub(r"kdc = 127\.0\.0\.1:\d+", "kdc = 127.0.0.1:1", text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KRB5_CONFIG", str(away))
        with pytest.raises(ConnectionFailedError, match="Cannot contact any KDC for realm"):
            await Gssapi(principal=ALICE, keytab=alice).begin(HOST)


async def test_another_brokers_answer_is_refused(realm: kdc.Kdc, alice: Path, service: Path) -> None:
    auth = Gssapi(keytab=alice)
    first, second = await auth.begin(HOST), await auth.begin(HOST)
    other = Acceptor(service).answer(second.send(None))
    with pytest.raises(
        (AuthenticationError, ProtocolError), match=r"the answer of 127\.0\.0\.1 was not accepted"
    ):
        take(first, [other])


async def test_a_broker_that_insists_on_a_layer_is_told_apart(alice: Path, service: Path) -> None:
    with pytest.raises(AuthenticationError, match="insists on protecting what follows by Kerberos"):
        talk(await Gssapi(keytab=alice).begin(HOST), Acceptor(service, b"\x04\x00\x10\x00"))
    with pytest.raises(ProtocolError, match="offers security layers in 3 bytes"):
        talk(await Gssapi(keytab=alice).begin(HOST), Acceptor(service, b"\x01\x00\x00"))


@pytest.mark.parametrize("seed", range(40))
async def test_a_spoilt_answer_is_refused_or_means_the_same(seed: int, alice: Path, service: Path) -> None:
    random = Random(seed)
    which = random.choice([1, 2])

    def spoil(number: int, answer: bytes) -> bytes:
        if number != which:
            return answer
        kind = random.randrange(4)
        at = random.randrange(len(answer))
        if kind == 0:
            return answer[:at]
        if kind == 1:
            return random.randbytes(random.randrange(100))
        if kind == 2:
            return answer + random.randbytes(1 + random.randrange(10))
        return answer[:at] + bytes([answer[at] ^ (1 << random.randrange(8))]) + answer[at + 1 :]

    acceptor = Acceptor(service)
    steps = await Gssapi(keytab=alice).begin(HOST)
    try:
        talk(steps, acceptor, spoil)
    except (AuthenticationError, ProtocolError):
        return
    # Some bits are nobody's, such as those of a key's version that is not looked at.
    assert acceptor.chosen == b"\x01\x00\x00\x00"
