"""Builds the producers that are not Python, when their sources are newer than what was built."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from krafka.testing._distribution import load_distribution
from krafka.testing.errors import KafkaClusterError

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
# Rust's takes some minutes the first time, with everything it depends on.
BUILD_TIMEOUT = 1800.0


def franz_go() -> Path:
    """Return the program that runs franz-go, built anew if need be. Raises `RuntimeError` with the compiler's words."""
    folder = HERE / "franz_go"
    sources = [folder / name for name in ("main.go", "go.mod", "go.sum")]
    target = folder / "franz_go"
    return _built("franz-go's program", target, sources, ["go", "build", "-o", str(target), "."])


def rust_krafka() -> Path:
    """Return the program that runs the Rust crate krafka, built anew if need be. Raises as `franz_go` does."""
    folder = HERE / "rust_krafka"
    sources = [folder / name for name in ("src/main.rs", "Cargo.toml", "Cargo.lock")]
    target = folder / "target" / "release" / "rust_krafka"
    return _built("rust-krafka's program", target, sources, ["cargo", "build", "--release", "--locked"])


def java_producer() -> Path:
    """Return the folder of the class that runs Kafka's Java client, compiled anew if need be. Raises as others do."""
    folder = HERE / "java_producer"
    target = folder / "TransactionsOfChunks.class"
    sources = [folder / "TransactionsOfChunks.java"]
    try:
        class_path = load_distribution().class_path
    except KafkaClusterError as error:
        raise RuntimeError(f"the Java client's program needs Kafka's jars: {error}") from error
    command = ["javac", "--release", "17", "-cp", class_path, "-d", str(folder), str(sources[0])]
    return _built("the Java client's program", target, sources, command).parent


def _built(name: str, target: Path, sources: Sequence[Path], command: Sequence[str]) -> Path:
    if target.exists() and target.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        return target
    try:
        done = subprocess.run(  # noqa: S603 - this file's commands, by whichever tool chain is on the PATH
            command,
            cwd=sources[-1].parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_TIMEOUT,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{name} was not built within {BUILD_TIMEOUT:g} s") from error
    if done.returncode:
        raise RuntimeError(f"{name} could not be built:\n{done.stderr.strip()[-2000:]}")
    # Neither tool touches a program that is as it was.
    target.touch()
    return target
