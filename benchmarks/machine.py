"""What figures were measured on: the machine, its load, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from krafka.testing._distribution import DEFAULT_VERSION

PEERS = Path(__file__).with_name("peers")
PACKAGES = ("krafka", "anyio", "trio", "uvloop", "crc32c", "confluent-kafka", "aiokafka", "kafka-python")
TOOLS = {"go": ("go", "version"), "cargo": ("cargo", "--version")}


def machine() -> dict[str, Any]:
    """What the figures are measured on, as JSON takes it."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "kafka": DEFAULT_VERSION,
        "packages": {name: found for name in PACKAGES if (found := _version(name))} | _peers(),
        "tools": {name: told for name, command in TOOLS.items() if (told := _told(*command))},
    }


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _peers() -> dict[str, str]:
    """The versions that the sources of the producers that are not Python name."""
    franz_go = re.search(r"franz-go (v\S+)", (PEERS / "franz_go" / "go.mod").read_text())
    manifest = (PEERS / "rust_krafka" / "Cargo.toml").read_text()
    rust = re.search(r'^krafka = .*?"=?([\d.]+)"', manifest, re.MULTILINE)
    found = {"franz-go": franz_go, "rust-krafka": rust}
    return {name: match[1] for name, match in found.items() if match}


def _told(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)  # noqa: S603 - TOOLS
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
