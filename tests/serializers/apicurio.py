"""A real schema registry with Confluent's interface: Apicurio Registry, from Maven Central, in memory, on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

from krafka.testing._distribution import cache_folder, exclusive, java_runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = "3.3.3"
START = 120.0
STOP = 30.0
LISTENING = re.compile(r"Listening on: (http://127\.0\.0\.1:\d+)")


def program() -> Path:
    """Where the registry's program is, downloading it the first time (160 MB)."""
    folder = cache_folder() / "apicurio" / VERSION
    ready = folder / "app" / "quarkus-run.jar"
    with exclusive(folder):
        if not ready.is_file():
            _download(folder)
    return ready


def _download(folder: Path) -> None:
    from jgo.maven import MavenContext

    scratch = folder / "download"
    context = MavenContext(repo_cache=scratch, timeout=300)
    component = context.project("io.apicurio", "apicurio-registry-app").at_version(VERSION)
    archive = component.artifact("all", "tar.gz").resolve()
    unpacked = folder / "unpacked"
    with tarfile.open(archive) as whole:
        whole.extractall(unpacked, filter="data")
    unpacked.rename(folder / "app")
    shutil.rmtree(scratch)


@contextlib.contextmanager
def running(log: Path) -> Iterator[str]:
    """A registry, empty at first; gives the address of its Confluent interface."""
    here = "127.0.0.1"
    options = {"http.host": here, "http.port": 0, "management.host": here, "management.port": 0}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                java_runtime(),
                "-Xmx512m",
                *(f"-Dquarkus.{name}={value}" for name, value in options.items()),
                "-jar",
                program(),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={name: value for name, value in os.environ.items() if not name.startswith("QUARKUS_")},
        )
        try:
            yield f"{_address(process, log)}/apis/ccompat/v7"
        finally:
            process.terminate()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START
    while time.monotonic() < deadline and process.poll() is None:
        found = LISTENING.search(log.read_text(errors="replace"))
        if found is not None:
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"Apicurio Registry did not start:\n{log.read_text(errors='replace')[-4000:]}")
