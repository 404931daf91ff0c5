"""A certificate authority for one test cluster, in the PEM forms Java takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from krafka.testing.errors import MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the authority; the brokers' key and chain; a client's, for brokers that ask for one."""

    ca: Path
    server: Path
    client: Path


def make_tls_files(folder: Path) -> TlsFiles:
    """Make an authority and certificates for 127.0.0.1 and for a client. Raises MissingExtraError."""
    try:
        import trustme  # noqa: PLC0415  # an optional package
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # trustme's own dependency
    except ModuleNotFoundError as error:
        raise MissingExtraError("trustme", "a test cluster with TLS") from error

    def write(certificate: trustme.LeafCert, path: Path) -> Path:
        key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), password=None)
        # Java reads PKCS#8 keys only, and trustme writes the older form.
        key_pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.touch(mode=0o600)
        path.write_bytes(key_pem + b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
        return path

    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    ca = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca))
    server = write(authority.issue_cert("localhost", "127.0.0.1"), folder / "server.pem")
    client = write(
        authority.issue_cert("client@example.org", common_name="krafka-client"), folder / "client.pem"
    )
    return TlsFiles(ca, server, client)
