"""TlsConfig: what it reads, that it reads it again when it changes, and what is said of what it cannot use."""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
import stat
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener
from cryptography.hazmat.primitives import serialization

from krafka._io.tls import TlsContexts
from krafka._io.transport import TcpConnector
from krafka.auth import TlsConfig
from krafka.auth._tls import _as_file, _Source
from krafka.errors import AuthenticationError, ConfigError, ConnectionFailedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from anyio.abc import ByteStream

pytestmark = pytest.mark.anyio

KEY_PASSWORD = "key-password-1234"


class Files:
    """An authority, and a client's certificate of it, as files and as text."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca)
        self.ca_text = self.authority.cert_pem.bytes().decode()
        client = self.authority.issue_cert("client@example.org")
        key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
        self.key_text = client.private_key_pem.bytes().decode()
        self.encrypted_text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(KEY_PASSWORD.encode()),
        ).decode()
        self.certificate_text = "".join(blob.bytes().decode() for blob in client.cert_chain_pems)
        self.certificate, self.key, self.encrypted, self.both = (
            folder / name for name in ("cert.pem", "key.pem", "encrypted.pem", "both.pem")
        )
        self.certificate.write_text(self.certificate_text)
        self.key.write_text(self.key_text)
        self.encrypted.write_text(self.encrypted_text)
        self.both.write_text(self.key_text + self.certificate_text)

    def server(self, name: str = "localhost") -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.authority.issue_cert(name).configure_cert(context)
        self.authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("pem"))


@contextlib.asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncIterator[int]:
    """A server that tells its client whether it showed a certificate; the port."""

    async def tell(stream: ByteStream) -> None:
        async with stream:
            shown = stream.extra_attributes[anyio.streams.tls.TLSAttribute.peer_certificate]()
            with contextlib.suppress(anyio.BrokenResourceError):
                await stream.send(b"known" if shown else b"stranger")

    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with (
        TLSListener(tcp, context, standard_compatible=False) as listener,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(listener.serve, tell)
        yield tcp.extra(SocketAttribute.local_port)
        tasks.cancel_scope.cancel()


async def greeting(port: int, tls: Any, host: str = "localhost") -> bytes:
    async with await TcpConnector(tls=tls).connect(host, port) as stream:
        return await stream.receive()


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda files: TlsConfig(ca=files.ca), b"stranger"),
        (lambda files: TlsConfig(ca=str(files.ca)), b"stranger"),
        (lambda files: TlsConfig(ca=files.ca_text), b"stranger"),
        (lambda files: TlsConfig(ca=files.ca, certificate=files.certificate, key=files.key), b"known"),
        (lambda files: TlsConfig(ca=files.ca, certificate=files.both), b"known"),
        (
            lambda files: TlsConfig(
                ca=files.ca, certificate=files.certificate, key=files.encrypted, key_password=KEY_PASSWORD
            ),
            b"known",
        ),
        (
            lambda files: TlsConfig(
                ca=files.ca_text,
                certificate=files.certificate_text,
                key=files.encrypted_text,
                key_password=KEY_PASSWORD,
            ),
            b"known",
        ),
        (lambda files: TlsConfig(ca=files.ca, certificate=files.key_text + files.certificate_text), b"known"),
    ],
)
async def test_files_and_text_serve_alike(
    files: Files,
    make: Callable[[Files], TlsConfig],
    expected: bytes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    async with serving(files.server()) as port:
        assert await greeting(port, make(files)) == expected
    assert os.listdir(tmp_path) == []  # blocks for nothing worth a thread


async def test_a_server_by_another_name(files: Files) -> None:
    async with serving(files.server("kafka.example")) as port:
        with pytest.raises(AuthenticationError, match="not for 'localhost'"):
            await greeting(port, TlsConfig(ca=files.ca))
        assert await greeting(port, TlsConfig(ca=files.ca, server_name="kafka.example")) == b"stranger"
        assert await greeting(port, TlsConfig(ca=files.ca, check_hostname=False)) == b"stranger"
        with pytest.raises(AuthenticationError, match=r"not for 'other\.example'"):
            await greeting(port, TlsConfig(ca=files.ca, server_name="other.example"))


async def test_without_verification_anyone_is_trusted_and_that_is_warned_of_once(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    connector = TcpConnector(tls=TlsConfig(verify=False))
    async with serving(files.server("kafka.example")) as port:
        for _ in range(2):
            await (await connector.connect("localhost", port)).aclose()
    assert [record.getMessage() for record in caplog.records if "verify=False" in record.getMessage()] == [
        "TLS with verify=False trusts whoever answers: anyone in between can read and change all"
    ]


async def test_the_systems_authorities_are_the_default(files: Files) -> None:
    for tls in (True, TlsConfig()):
        async with serving(files.server()) as port:
            with pytest.raises(AuthenticationError, match="unknown CA"):
                await greeting(port, tls)


async def test_files_are_read_again_when_they_change_and_only_then(files: Files, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(Files(tmp_path).ca_text)
    contexts = TlsContexts(TlsConfig(ca=ca))
    before = await contexts.current()
    assert await contexts.current() is before
    ca.write_text(files.ca_text)
    os.utime(ca, ns=(1, 1))
    after = await contexts.current()
    assert after is not before
    assert await contexts.current() is after
    assert after.get_ca_certs() != before.get_ca_certs()


async def test_a_connector_takes_the_renewed_authority(files: Files, tmp_path: Path) -> None:
    ca = tmp_path / "trusted.pem"
    ca.write_text(Files(tmp_path).ca_text)
    connector = TcpConnector(tls=TlsConfig(ca=ca))
    async with serving(files.server()) as port:
        with pytest.raises(AuthenticationError, match="unknown CA"):
            await connector.connect("localhost", port)
        ca.write_text(files.ca_text)
        os.utime(ca, ns=(1, 1))
        await (await connector.connect("localhost", port)).aclose()


async def test_what_goes_wrong_later_leaves_the_old_in_use(
    files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(files.ca_text)
    contexts = TlsContexts(TlsConfig(ca=ca))
    before = await contexts.current()
    ca.write_text("half-writ")
    for _ in range(3):
        assert await contexts.current() is before
    ca.unlink()
    assert await contexts.current() is before
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 2
    assert all("stays in use" in text and str(ca) in text for text in warned)
    ca.write_text(files.ca_text)
    assert await contexts.current() is not before


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda files: TlsConfig(ca="/nowhere/ca.pem"),
            r"TLS: ca '/nowhere/ca.pem' cannot be used: No such file",
        ),
        (lambda files: TlsConfig(ca=files.key), r"TLS: ca '.*key.pem' cannot be used: NO_CERT.*PEM"),
        (lambda files: TlsConfig(ca="-----BEGIN CERTIFICATE-----\nx"), "TLS: ca <PEM text> cannot be used"),
        (
            lambda files: TlsConfig(certificate="/nowhere/c.pem", key=files.key),
            "TLS: certificate '/nowhere/c.pem' cannot be used: No such file",
        ),
        (
            lambda files: TlsConfig(certificate=files.certificate, key="/nowhere/k.pem"),
            "TLS: key '/nowhere/k.pem' cannot be used: No such file",
        ),
        (
            lambda files: TlsConfig(certificate=files.certificate),
            "key_password given if the key is encrypted",
        ),
        (
            lambda files: TlsConfig(certificate=files.certificate, key=files.encrypted),
            "key_password given if the key is encrypted",
        ),
        (
            lambda files: TlsConfig(
                certificate=files.certificate, key=files.encrypted, key_password="wrong-password"
            ),
            "key_password right",
        ),
    ],
)
async def test_what_cannot_be_read_is_named(
    files: Files, make: Callable[[Files], TlsConfig], text: str
) -> None:
    async with serving(files.server()) as port:
        with pytest.raises(AuthenticationError, match=text) as caught:
            await greeting(port, make(files))
    assert "wrong-password" not in str(caught.value)
    assert caught.value.__cause__ is not None


async def test_an_end_in_the_middle_is_a_fault_of_the_network(files: Files) -> None:
    async def leave(stream: ByteStream) -> None:
        async with stream:
            await stream.receive(1)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, leave)
        with pytest.raises(ConnectionFailedError, match="closed the connection in the middle"):
            await greeting(listener.extra(SocketAttribute.local_port), TlsConfig(ca=files.ca))
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"ca": b"bytes"}, "TlsConfig: ca must be the path of a PEM file or PEM text, got bytes"),
        ({"ca": ""}, "TlsConfig: ca must be"),
        ({"key": "k.pem"}, "key must go with certificate"),
        ({"key_password": "secret-1"}, "key_password must go with certificate"),
        ({"key_password": 1, "certificate": "c.pem"}, "key_password must be str, not int"),
        ({"verify": False, "ca": "ca.pem"}, "ca cannot be used"),
        ({"server_name": ""}, "server_name must not be empty"),
    ],
)
def test_options_at_odds(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        TlsConfig(**options)


def test_the_repr_shows_paths_and_no_secrets(files: Files) -> None:
    shown = repr(
        TlsConfig(
            ca="/etc/ca.pem",
            certificate=files.certificate_text,
            key=files.encrypted_text,
            key_password=KEY_PASSWORD,
            server_name="kafka",
            check_hostname=False,
        )
    )
    assert shown == (
        "TlsConfig(ca='/etc/ca.pem', certificate=<PEM text>, key=<PEM text>, key_password=<hidden>, "
        "check_hostname=False, server_name='kafka')"
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
def test_text_is_in_a_file_that_nobody_else_can_read(files: Files, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        stack.callback(os.umask, os.umask(0))
        path = _as_file(_Source("key", files.key_text), stack)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700
    assert not os.path.exists(path)
